package channels

import (
	"errors"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/packet"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

const transportTCP = "tcp"

// tcpConn is a connection that speaks the protocol of package packet.
type tcpConn struct {
	connection
	decoder packet.Decoder
}

func newTCPConn(e *Endpoint, m *mount) *connection {
	t := new(tcpConn)
	t.socket.endpoint, t.socket.mount, t.socket.transport = e, m, t
	t.socket.key.Framing = frames.TCP
	return &t.connection
}

// openTCP answers the client's connect and opens the socket.
func (t *tcpConn) openTCP(c *netloop.Conn, ticket *admission.Ticket) {
	idle := max(0, t.socket.mount.options.IdleTimeout)
	t.open(c, ticket, packet.HeaderSize+8, func(dst []byte) []byte { return packet.AppendAccepted(dst, idle, t.maxMessage()) })
}

// HandleData decodes data from the client.
func (t *tcpConn) HandleData(_ *netloop.Conn, data []byte) {
	if t.mayFeed(data) {
		t.feed(data)
	}
}

func (t *tcpConn) feed(data []byte) { t.fed(t.decoder.FeedSome(data, t.maxMessage(), t)) }

func (t *tcpConn) maxMessage() int { return t.socket.mount.options.frames.MaxFrame }

func (t *tcpConn) forget() { t.decoder.End() }

func (t *tcpConn) appendHeader(dst []byte, op websocket.Op, n int) []byte {
	return packet.AppendHeader(dst, packet.Type(op), n)
}

func (t *tcpConn) appendClose(dst []byte, code uint16, reason string) []byte {
	return packet.AppendClose(dst, code, reason)
}

func (t *tcpConn) appendCloseReply(dst, payload []byte) []byte {
	return packet.AppendCloseReply(dst, payload)
}

// reasonFor says what was wrong, for the authors of clients. No client expects Phoenix's
// empty reason here, as over WebSocket.
func (t *tcpConn) reasonFor(err error) string {
	var wrong *websocket.CloseError
	if errors.As(err, &wrong) {
		return wrong.Reason
	}
	if advice := adviceOf(err); advice != "" {
		return advice
	}
	return "not a message of the protocol version that the client asked for"
}

func (t *tcpConn) name() string { return transportTCP }
