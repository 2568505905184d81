package front

import (
	"errors"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/forward"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

const (
	// spliceGrace is how long one connection has to take the last bytes that the other
	// sent.
	spliceGrace = 5 * time.Second
	// pausePart: while a connection has more than 1/pausePart of Limits.OutboundBytes to
	// write, the other is not read. netloop.Conn.NotifyDrained waits for the same
	// threshold.
	pausePart = 4
)

// Why a forwarded connection ends.
var (
	errOtherEnded = errors.New("channels: the other side of a forwarded connection has ended")
	errServerEnds = errors.New("channels: a forwarded connection was closed by the server")
	errNoAnswer   = errors.New("channels: the other node has not answered the handshake")
)

// splice is a client's connection and the one to the node that serves it, both on the
// same loop, which owns the splice. What one receives is written to the other; when one
// ends, so does the other.
type splice struct {
	splices  *splices
	tenant   *netloop.Tenant
	loop     *netloop.Loop
	arrival  *arrival // until the node is connected; it has the client's ticket
	to       *forward.Elsewhere
	ticket   *admission.Ticket
	first    []byte // what is sent to the node first
	client   clientEnd
	node     nodeEnd
	answered bool // the node has sent something
	tcp      bool // the client speaks raw TCP
}

// clientEnd and nodeEnd are the handlers of the two connections.
type (
	clientEnd struct {
		*splice
		conn *netloop.Conn
	}
	nodeEnd struct {
		*splice
		conn *netloop.Conn
	}
)

// relay sends what has come from one connection to the other. The frame weighs as much
// as fits, so that it is never dropped.
func relay(from, to *netloop.Conn, data []byte) {
	f := netloop.NewFrame(len(data))
	f.Append(data)
	f.Weigh(len(data))
	to.Send(f)
	if to.Lags(pausePart) {
		from.PauseRead()
		to.NotifyDrained()
	}
}

// HandleOpen implements netloop.Handler. It is never called: the arrival was opened.
func (c *clientEnd) HandleOpen(*netloop.Conn) {}

// HandleData implements netloop.Handler.
func (c *clientEnd) HandleData(_ *netloop.Conn, data []byte) { relay(c.conn, c.node.conn, data) }

// HandleDrained implements netloop.Drained.
func (c *clientEnd) HandleDrained(*netloop.Conn) { c.node.conn.ResumeRead() }

// HandleTimeout implements netloop.Handler. The node knows how long a client may be
// silent.
func (c *clientEnd) HandleTimeout(*netloop.Conn) {}

// HandleClose ends the connection to the node.
func (c *clientEnd) HandleClose(_ *netloop.Conn, _ error) {
	c.splices.remove(c.splice)
	c.ticket.Leave()
	c.node.conn.CloseAfterFlush(errOtherEnded, spliceGrace)
}

// HandleLost implements netloop.Lost.
func (n *nodeEnd) HandleLost(reason error) {
	n.to.Closed(true)
	n.fail(reason)
}

// HandleOpen takes over the client's connection, unless it has ended.
func (n *nodeEnd) HandleOpen(c *netloop.Conn) {
	n.conn = c
	a, client := n.arrival, n.client.conn
	if !client.IsOpen() {
		c.Close(errOtherEnded)
		return
	}
	c.SetTenant(n.tenant)
	client.SetTenant(n.tenant)
	client.SetHandler(&n.client)
	client.SetDeadline(0)
	c.SetDeadline(a.front.options.HandshakeTimeout)
	n.ticket = a.ticket
	n.splices.add(n.splice)
	relay(client, c, n.first)
	if len(a.buf) > 0 {
		relay(client, c, a.buf)
	}
	n.first, n.arrival = nil, nil
	if !c.Lags(pausePart) {
		client.ResumeRead()
	}
}

// HandleData implements netloop.Handler.
func (n *nodeEnd) HandleData(c *netloop.Conn, data []byte) {
	if !n.answered {
		n.answered = true
		c.SetDeadline(0)
	}
	relay(c, n.client.conn, data)
}

// HandleDrained implements netloop.Drained.
func (n *nodeEnd) HandleDrained(*netloop.Conn) { n.client.conn.ResumeRead() }

// HandleTimeout is called if the node has not answered the handshake.
func (n *nodeEnd) HandleTimeout(c *netloop.Conn) { c.Close(errNoAnswer) }

// HandleClose ends the client's connection, with an answer if there was none.
func (n *nodeEnd) HandleClose(_ *netloop.Conn, reason error) {
	client := n.client.conn
	taken := n.arrival == nil // the client's connection is this splice's
	n.to.Closed(taken && !n.answered && client.IsOpen())
	switch {
	case !taken || !client.IsOpen():
	case !n.answered:
		n.splices.reportFailure(n.to, reason)
		sendRefusal(client, admission.Unavailable(time.Second), n.tcp)
	default:
		client.CloseAfterFlush(errOtherEnded, spliceGrace)
	}
}

// dial connects to the node. It runs on a goroutine.
func (s *splice) dial() {
	conn, err := s.to.Open(s.splices.ctx)
	if err == nil {
		if err = s.loop.Adopt(conn, nil, &s.node); err == nil {
			return
		}
		s.to.Closed(true)
	}
	s.fail(err)
}

// fail answers the client of a node that was not connected. Any goroutine.
func (s *splice) fail(err error) {
	s.loop.Post(netloop.TaskFunc(func() {
		s.splices.reportFailure(s.to, err)
		if s.client.conn.IsOpen() {
			sendRefusal(s.client.conn, admission.Unavailable(time.Second), s.tcp)
		}
	}))
}

// end ends both connections. The client connects again.
func (s *splice) end() {
	s.client.conn.CloseAfterFlush(errServerEnds, spliceGrace)
	s.node.conn.CloseAfterFlush(errServerEnds, spliceGrace)
}
