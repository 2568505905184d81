package channels

import (
	"net"
	"sync"

	"github.com/mycelium-rt/mycelium/internal/admission"
)

// countedConn is a connection that has left its loop: some bytes have been read
// from it already, and its place is counted until it is closed. net/http or
// crypto/tls reads it.
type countedConn struct {
	net.Conn
	ticket *admission.Ticket // nil for TLS, whose ticket the connection below has
	http   *admission.Gate   // counts it among those of net/http; nil: nobody does
	unread []byte
	once   sync.Once
	served sync.Once
}

// Read gives the bytes of the loop first.
func (c *countedConn) Read(b []byte) (int, error) {
	if len(c.unread) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.unread)
	if c.unread = c.unread[n:]; len(c.unread) == 0 {
		c.unread = nil // it is kept for nothing
	}
	return n, nil
}

// CloseWrite ends our side of the stream only, so that a Close frame over TLS
// is not overtaken by the reset of a connection with unread bytes.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

// Close ends the count of the connection too.
func (c *countedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}

func (c *countedConn) leave() {
	c.once.Do(func() { c.ticket.Leave() })
	c.leaveHTTP()
}

// leaveHTTP ends the count among the connections of net/http.
func (c *countedConn) leaveHTTP() {
	if c.http != nil {
		c.served.Do(func() { c.http.LeaveHTTP() })
	}
}
