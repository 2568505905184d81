package front

import (
	"net"
	"sync"
)

// connQueue is a listener of connections that loops give away. A connection waits no
// longer than net/http takes to start a goroutine.
type connQueue struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func() // closes closed, once
}

func newConnQueue() connQueue {
	closed := make(chan struct{})
	return connQueue{conns: make(chan net.Conn), closed: closed, close: sync.OnceFunc(func() { close(closed) })}
}

// put hands a connection to whoever accepts.
func (q connQueue) put(c net.Conn) {
	select {
	case q.conns <- c:
	case <-q.closed:
		c.Close() // nobody is there to tell
	}
}

// Accept implements net.Listener.
func (q connQueue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (q connQueue) Close() error {
	q.close()
	return nil
}

// Addr implements net.Listener. There is no address.
func (q connQueue) Addr() net.Addr { return &net.TCPAddr{} }
