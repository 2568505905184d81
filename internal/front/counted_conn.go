package front

import (
	"net"
	"sync"

	"github.com/mycelium-rt/mycelium/internal/admission"
)

// countedConn is a connection that has left its loop for net/http.
// The loop has read some bytes of it, and it is counted until it is closed.
type countedConn struct {
	net.Conn
	ticket *admission.Ticket // nil for TLS: the netloop.Wire below has it
	http   *admission.Gate   // counts it as a connection of net/http; nil: it is none
	unread []byte            // what the loop has read
	once   sync.Once         // for ticket
	served sync.Once         // for http
}

// Read returns the bytes that the loop has read first.
func (c *countedConn) Read(b []byte) (int, error) {
	if len(c.unread) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.unread)
	if c.unread = c.unread[n:]; len(c.unread) == 0 {
		c.unread = nil // free it
	}
	return n, nil
}

// CloseWrite ends our side of the stream only. Over TLS a Close frame would
// otherwise be overtaken by the reset of a connection with unread bytes.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return net.ErrClosed
}

// Close closes the connection and ends its count.
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
		c.served.Do(c.http.LeaveHTTP)
	}
}
