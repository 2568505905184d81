package channels

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/internal/logging"
)

// fallback is the net/http server behind the loops: it gets the connections
// whose first request is not a WebSocket handshake, each as an httpConn.
type fallback struct {
	server *http.Server
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	// Guarded by mu.
	mu   sync.Mutex
	open map[*httpConn]*list.Element // its place in idle; nil while it has a request
	idle list.List                   // connections without a request, those that wait longest first
}

// idleTimeout is how long a kept connection may be without a request.
const idleTimeout = 2 * time.Minute

func newFallback(e *Endpoint) *fallback {
	f := &fallback{conns: make(chan net.Conn), closed: make(chan struct{}), open: make(map[*httpConn]*list.Element)}
	f.server = &http.Server{
		Handler:           http.HandlerFunc(e.serveOwn),
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, ownConn{}, c) },
		ConnState:         f.changed,
		ReadHeaderTimeout: e.limits.HandshakeTimeout, // all other deadlines are httpConn's
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    e.limits.HeaderBytes,
		ErrorLog:          logging.ErrorLog(e.log),
	}
	go f.server.Serve(f) //nolint:errcheck // always ErrServerClosed
	return f
}

// ownConn is the context key of a request's connection.
type ownConn struct{}

// serveOwn is ServeHTTP for a request that came to the endpoint's own port.
// net/http does not know that TLS was spoken on the loop.
func (e *Endpoint) serveOwn(w http.ResponseWriter, r *http.Request) {
	if c, ok := r.Context().Value(ownConn{}).(*httpConn); ok {
		r.TLS = c.tls
		c.handling.Store(true)
		defer c.handled()
	}
	defer e.abort()
	e.ServeHTTP(w, r)
}

// changed is told by net/http, on the goroutine that serves c, what becomes of it.
func (f *fallback) changed(nc net.Conn, state http.ConnState) {
	c := nc.(*httpConn)
	c.changed(state)
	f.mu.Lock()
	defer f.mu.Unlock()
	if place := f.open[c]; place != nil {
		f.idle.Remove(place)
		f.open[c] = nil
	}
	switch state {
	case http.StateNew:
		f.open[c] = nil
	case http.StateIdle:
		f.open[c] = f.idle.PushBack(c)
	case http.StateHijacked, http.StateClosed:
		delete(f.open, c)
	}
}

// makeRoom closes the connection that has been without a request for longest,
// and reports whether there was one: nobody is turned away for somebody who
// only might come back.
func (f *fallback) makeRoom() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	place := f.idle.Front()
	if place == nil {
		return false
	}
	c := f.idle.Remove(place).(*httpConn)
	f.open[c] = nil
	c.abort()
	return true
}

// shutdown lets the requests that are under way end until ctx is done. Clients
// that do not go on sending or reading theirs are not waited for.
func (f *fallback) shutdown(ctx context.Context) error {
	f.mu.Lock()
	for c := range f.open {
		c.hurry()
	}
	f.mu.Unlock()
	err := f.server.Shutdown(ctx)
	if err != nil {
		f.server.Close() // the first error counts
	}
	return err
}

// serve hands a connection over; it does not block for longer than net/http
// takes to start a goroutine.
func (f *fallback) serve(c *httpConn) {
	select {
	case f.conns <- c:
	case <-f.closed:
		c.Close() // nobody is there to tell
	}
}

// Accept is net.Listener's.
func (f *fallback) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Close is net.Listener's.
func (f *fallback) Close() error {
	f.once.Do(func() { close(f.closed) })
	return nil
}

// Addr is net.Listener's: nobody listens here.
func (f *fallback) Addr() net.Addr { return &net.TCPAddr{} }
