package front

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// lostAnswer tells a handler that has answered that its client did not take the answer:
// the connection was reset, or ended while bytes of the answer were on their way. A
// client that closes its connection behind an answer, as some proxies do, took it.
type lostAnswer struct {
	lost atomic.Bool
	tell atomic.Pointer[func()] // nil: nobody wants to know
}

// OnLostAnswer has tell called, at most once and on any goroutine, if the client of r does
// not take an answer that has been written. It must be called before the handler returns,
// and has no effect unless r came to a front's own port.
func OnLostAnswer(r *http.Request, tell func()) {
	c := connOf(r)
	if c == nil {
		return
	}
	c.lostAnswer.tell.Store(&tell)
	c.lostAnswer.report()
}

func (l *lostAnswer) report() {
	if !l.lost.Load() {
		return
	}
	if tell := l.tell.Swap(nil); tell != nil {
		(*tell)()
	}
}

// nextRequest forgets the answer: its client has gone on.
func (l *lostAnswer) nextRequest() { l.tell.Store(nil) }

// readFailed looks at the end of a connection between two requests, or behind one. A read
// that net/http ends with a deadline, as it does behind every answer, is no end of it.
func (c *httpConn) readFailed(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return
	}
	if errors.Is(err, syscall.ECONNRESET) || hasUnsent(c.Conn) {
		c.lostAnswer.lost.Store(true)
		c.lostAnswer.report()
	}
}

// hasUnsent reports whether the peer of a TCP connection has not acknowledged everything.
func hasUnsent(c net.Conn) bool {
	for {
		switch inner := c.(type) {
		case *tls.Conn:
			c = inner.NetConn()
		case *countedConn:
			c = inner.Conn
		case *netloop.Wire:
			c = inner.NetConn()
		case *net.TCPConn:
			return unsentBytes(inner) > 0
		default:
			return false
		}
	}
}
