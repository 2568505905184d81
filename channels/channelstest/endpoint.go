package channelstest

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
)

// Endpoint is an endpoint that listens in memory.
type Endpoint struct {
	*channels.Endpoint
	listener *pipeListener
}

// Start returns an endpoint that is shut down when the test ends. It uses no
// descriptors and ports: Options.Portable is set and Options.IOUring off;
// Options.Loops is 2 if it is 0. Without Options.Logger, warnings and errors
// are logged with t.
func Start(t testing.TB, o channels.Options) *Endpoint {
	t.Helper()
	o.Portable, o.IOUring = true, channels.IOUringOff
	if o.Loops == 0 {
		o.Loops = 2 // what crosses from loop to loop is tested too
	}
	log := &testLog{t: t}
	if o.Logger == nil {
		o.Logger = log.logger()
	}
	e, err := channels.NewEndpoint(o)
	if err != nil {
		t.Fatalf("channelstest: %v", err)
	}
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	if _, err := e.Serve(l); err != nil {
		t.Fatalf("channelstest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), Timeout)
		defer cancel()
		if err := e.Shutdown(ctx); err != nil {
			t.Errorf("channelstest: shutdown: %v", err)
		}
		log.endTest()
	})
	return &Endpoint{Endpoint: e, listener: l}
}

// pipeListener is a net.Listener of in-memory connections.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Accept implements net.Listener.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
