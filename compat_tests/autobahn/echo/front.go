package main

import (
	"errors"
	"net/http"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// headBytes bounds the head of a handshake. It is the default of channels.
const headBytes = 16 << 10

// front collects the head of a request and answers the handshake. It is like
// internal/front, but without paths, TLS, net/http and an application.
type front struct {
	buf  []byte // received data, if it came in more than one piece
	seen int    // of buf, searched for the end of the head
}

// HandleOpen implements netloop.Handler.
func (f *front) HandleOpen(c *netloop.Conn) { c.SetDeadline(idleTimeout) }

// HandleData collects the head, and passes on frames after it.
func (f *front) HandleData(c *netloop.Conn, data []byte) {
	if len(f.buf) > 0 {
		f.buf = append(f.buf, data...)
		data = f.buf
	}
	end := websocket.HeadEnd(data, f.seen)
	switch {
	case end > 0 && end <= headBytes:
		f.handleHead(c, data[:end], data[end:])
	case end < 0 && len(data) <= headBytes:
		f.seen = len(data)
		if len(f.buf) == 0 {
			f.buf = append(f.buf, data...)
		}
	default:
		f.refuseHead(c, &websocket.HandshakeError{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "head too large"})
	}
}

// HandleTimeout ends a connection without a complete request.
func (f *front) HandleTimeout(c *netloop.Conn) { c.Close(errIdle) }

// HandleClose implements netloop.Handler.
func (f *front) HandleClose(*netloop.Conn, error) {}

// handleHead upgrades the connection or refuses the handshake.
func (f *front) handleHead(c *netloop.Conn, head, rest []byte) {
	request, err := websocket.ParseRequest(head)
	if err == nil {
		err = request.CheckUpgrade()
	}
	if err != nil {
		f.refuseHead(c, err)
		return
	}
	deflate := request.NegotiateDeflate()
	accept := websocket.AppendAccept(nil, websocket.Accept{Key: request.Key(), Deflate: deflate})
	answer := netloop.NewFrame(len(accept))
	answer.Append(accept)
	c.Send(answer)
	e := newEchoConn(c, deflate)
	c.SetHandler(e)
	if len(rest) > 0 {
		e.HandleData(c, rest)
	}
}

func (f *front) refuseHead(c *netloop.Conn, err error) {
	wrong := &websocket.HandshakeError{Status: http.StatusBadRequest}
	errors.As(err, &wrong)
	answer := netloop.NewFrame(0)
	answer.SetBytes(websocket.AppendRefusal(nil, wrong.Status, wrong.Header(), []byte(wrong.Reason)))
	c.Send(answer)
	c.CloseAfterFlush(err, closeGrace)
}
