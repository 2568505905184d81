package channels

import (
	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

const transportWebsocket = "websocket"

// websocketConn is a connection that speaks RFC 6455.
type websocketConn struct {
	connection
	decoder websocket.Decoder
}

func newWebsocketConn(e *Endpoint, m *mount) *connection {
	w := new(websocketConn)
	w.socket.endpoint, w.socket.mount, w.socket.transport = e, m, w
	w.socket.key.Framing = frames.WebSocket
	return &w.connection
}

// acceptSize is enough for nearly all answers to a handshake, in bytes.
const acceptSize = 256

// openWebsocket answers the handshake with accept and opens the socket.
func (w *websocketConn) openWebsocket(c *netloop.Conn, accept websocket.Accept, t *admission.Ticket) {
	w.socket.key.Compression, w.decoder.Deflate = frames.Compression(accept.Deflate), accept.Deflate
	w.open(c, t, acceptSize, func(dst []byte) []byte { return websocket.AppendAccept(dst, accept) })
}

// HandleData decodes data from the client.
func (w *websocketConn) HandleData(_ *netloop.Conn, data []byte) {
	if w.mayFeed(data) {
		w.feed(data)
	}
}

func (w *websocketConn) feed(data []byte) {
	w.fed(w.decoder.FeedSome(data, &w.socket.mount.options.frames, w))
}

func (w *websocketConn) forget() { w.decoder.Reset() }

func (w *websocketConn) appendHeader(dst []byte, op websocket.Op, n int) []byte {
	return websocket.AppendHeader(dst, op, n)
}

func (w *websocketConn) appendClose(dst []byte, code uint16, reason string) []byte {
	return websocket.AppendClose(dst, code, reason)
}

func (w *websocketConn) appendCloseReply(dst, payload []byte) []byte {
	return websocket.AppendCloseReply(dst, payload)
}

// reasonFor usually returns no reason, as Phoenix does.
func (w *websocketConn) reasonFor(err error) string { return adviceOf(err) }

func (w *websocketConn) name() string { return transportWebsocket }
