package channels

import (
	"errors"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
	"github.com/mycelium-rt/mycelium/wire"
)

const transportWebsocket = "websocket"

// websocketConn is a socket's connection by WebSocket. It gets bytes from the
// loop, feeds them to the decoder, and gives messages to the socket. All of it
// belongs to the loop.
type websocketConn struct {
	socket  Socket
	conn    *netloop.Conn
	decoder websocket.Decoder
	ticket  *admission.Ticket
}

func newWebsocketConn(e *Endpoint, m *mount) *websocketConn {
	w := new(websocketConn)
	w.socket.endpoint, w.socket.mount, w.socket.transport = e, m, w
	w.socket.key.Framing = frames.WebSocket
	return w
}

// acceptSize is enough for nearly all answers to a handshake, in bytes.
const acceptSize = 256

// open answers the handshake and opens the socket. w gives t back when c is closed.
func (w *websocketConn) open(c *netloop.Conn, accept websocket.Accept, t *admission.Ticket) {
	e := w.socket.endpoint
	w.ticket = t
	w.socket.key.Compression, w.decoder.Deflate = frames.Compression(accept.Deflate), accept.Deflate
	c.SetHandler(w)
	c.SetTenant(e.tenant)
	w.conn, w.socket.loop = c, e.tenant.Lanes()[c.Loop().Index()]
	e.connections.Add(1)
	e.gate.AddSockets(1)
	f := netloop.NewFrame(acceptSize)
	f.SetBytes(websocket.AppendAccept(f.Bytes(), accept))
	c.Send(f)
	c.SetDeadline(max(0, w.socket.mount.options.IdleTimeout))
	defer func() {
		if e.isDraining() { // it was admitted just before
			w.close(closeRestart, "")
		}
	}()
	w.socket.open()
}

// HandleOpen implements netloop.Handler. Connections are opened by open.
func (w *websocketConn) HandleOpen(*netloop.Conn) {}

// HandleData decodes data from the client.
func (w *websocketConn) HandleData(_ *netloop.Conn, data []byte) {
	w.socket.countWire(len(data))
	if h := w.socket.findHold(); h != nil && len(h.unread) > 0 { // read before reading was paused
		h.unread = append(h.unread, data...)
		return
	}
	w.feed(data)
}

// feed decodes until the socket is held up; the rest waits for resume.
func (w *websocketConn) feed(data []byte) {
	rest, err := w.decoder.FeedSome(data, &w.socket.mount.options.frames, w)
	switch {
	case err == nil: // return before wrong is allocated
		return
	case errors.Is(err, websocket.ErrPause):
		h := w.socket.findHold()
		h.unread = append(h.unread, rest...)
		return
	}
	var wrong *websocket.CloseError
	if errors.As(err, &wrong) {
		if wrong.Code == websocket.CloseTooBig {
			w.socket.limitReached("max_message", wrong.Reason)
		} else {
			w.socket.line(zerolog.DebugLevel, "protocol error").Int("code", int(wrong.Code)).Str("reason", wrong.Reason).Write()
		}
		w.closeWithin(wrong.Code, "", refusalGrace)
	}
}

// HandleMessage passes a message to the socket.
func (w *websocketConn) HandleMessage(binary bool, payload []byte) error {
	if w.socket.closed() {
		return websocket.ErrStop
	}
	if err := w.socket.handleMessage(binary, payload); err != nil {
		w.socket.line(zerolog.DebugLevel, "malformed message").Err(err).Write()
		w.closeWithin(closeInternalError, adviceOf(err), refusalGrace)
		return websocket.ErrStop
	}
	if w.socket.findHold().stopsDecoding() {
		return websocket.ErrPause
	}
	return nil
}

// adviceOf returns the close reason for a message that cannot be decoded:
// usually empty, as in Phoenix.
func adviceOf(err error) string {
	var wrong *wire.DecodeError
	if errors.As(err, &wrong) {
		return wrong.Advice
	}
	return ""
}

// HandleControl answers ping and close.
func (w *websocketConn) HandleControl(op websocket.Op, payload []byte) error {
	if w.socket.closed() {
		return websocket.ErrStop
	}
	switch op {
	case websocket.OpPing:
		w.socket.countFrames(1)
		f := netloop.NewFrame(websocket.MaxHeaderSize + len(payload))
		f.SetBytes(websocket.AppendFrame(f.Bytes(), websocket.OpPong, payload))
		w.conn.Send(f)
	case websocket.OpPong:
		w.socket.countFrames(1)
		if p, ok := parseProbe(payload); ok {
			w.socket.answered(p)
		}
	case websocket.OpClose:
		f := netloop.NewFrame(websocket.MaxHeaderSize + len(payload))
		f.SetBytes(websocket.AppendCloseReply(f.Bytes(), payload))
		w.endConn(f, errClientClosed, closeGrace, errClientClosed)
		return websocket.ErrStop
	}
	return nil
}

// HandleOverhead counts fragments, and messages that inflate far.
func (w *websocketConn) HandleOverhead(units int) error {
	if w.socket.closed() {
		return websocket.ErrStop
	}
	w.socket.countFrames(units)
	if h := w.socket.findHold(); h != nil && units > 1 { // not a fragment
		h.large = true
	}
	return nil
}

// HandleTimeout ends a silent connection with the code of Phoenix on Bandit:
// after Cowboy's 1000 phoenix.js would not reconnect
// (assets/js/phoenix/socket.js, onConnClose).
func (w *websocketConn) HandleTimeout(c *netloop.Conn) {
	if w.socket.isHeld() { // the client may have sent heartbeats that were not read
		c.SetDeadline(w.socket.mount.options.IdleTimeout)
		return
	}
	w.socket.line(zerolog.DebugLevel, "idle socket closed").Write()
	w.endWithCode(closeProtocolError, "", closeGrace, errIdle)
}

// HandleClose handles the end of the connection, whatever caused it.
func (w *websocketConn) HandleClose(_ *netloop.Conn, reason error) {
	if errors.Is(reason, netloop.ErrSlowReceiver) {
		w.socket.line(zerolog.WarnLevel, "slow receiver disconnected").Str("limit", "outbound_bytes").Write()
	}
	defer func() {
		w.ticket.Leave()
		w.socket.endpoint.connections.Add(-1)
		w.socket.endpoint.gate.AddSockets(-1)
	}()
	w.decoder.Reset()
	w.socket.logClosed(reason)
	w.socket.shutdown(reason)
}

// send queues a frame.
func (w *websocketConn) send(f *netloop.Frame) { w.conn.Send(f) }

// close sends a Close frame and ends the connection when it is written.
func (w *websocketConn) close(code uint16, reason string) { w.closeWithin(code, reason, closeGrace) }

// closeWithin is close with a bound on how long the client has to take its
// queued frames and to answer.
func (w *websocketConn) closeWithin(code uint16, reason string, grace time.Duration) {
	w.endWithCode(code, reason, grace, serverClose(code))
}

// endWithCode sends a Close frame. why is the reason of the socket's end.
func (w *websocketConn) endWithCode(code uint16, reason string, grace time.Duration, why error) {
	if w.socket.closed() {
		return
	}
	f := netloop.NewFrame(websocket.MaxHeaderSize + 2 + len(reason))
	f.SetBytes(websocket.AppendClose(f.Bytes(), code, reason))
	w.endConn(f, errServerClosed, grace, why)
}

// endConn sends a Close frame, the last frame of the connection. The channels
// end now, because nothing of theirs may follow it. What the client still sends
// is read only for a short time. why is the reason of the socket's end.
func (w *websocketConn) endConn(closeFrame *netloop.Frame, reason error, grace time.Duration, why error) {
	w.conn.Send(closeFrame)
	w.conn.CloseAfterFlush(reason, grace)
	w.decoder.Reset()
	w.socket.shutdown(why)
}

// drop ends the connection without a Close frame.
func (w *websocketConn) drop() {
	w.socket.shutdown(serverClose(0))
	w.conn.CloseAfterFlush(errServerClosed, closeGrace)
}

// hold stops reading; TCP slows the client down.
func (w *websocketConn) hold() { w.conn.PauseRead() }

// resume decodes bytes that had been read when the socket was held up, which
// may hold it up again.
func (w *websocketConn) resume(unread []byte) {
	if len(unread) > 0 {
		w.feed(unread)
	}
	if !w.socket.closed() && !w.socket.isHeld() {
		w.conn.ResumeRead()
	}
}

func (w *websocketConn) lags(part int) bool { return w.conn.Lags(part) }

func (w *websocketConn) notifyDrained() { w.conn.NotifyDrained() }

// HandleDrained implements netloop.Drained.
func (w *websocketConn) HandleDrained(*netloop.Conn) { w.socket.drained() }

// undeliverable counts nothing: clients of version 1 do not know binary
// messages.
func (w *websocketConn) undeliverable() {}

// probe sends a ping, which a WebSocket stack answers after what came before it.
func (w *websocketConn) probe(p probe) {
	var room [probeBytes]byte
	f := netloop.NewFrame(websocket.MaxHeaderSize + probeBytes)
	f.SetBytes(websocket.AppendFrame(f.Bytes(), websocket.OpPing, appendProbe(room[:0], p)))
	w.conn.Send(f)
}

func (w *websocketConn) name() string { return transportWebsocket }

// Close reasons of connections, for counting. They are not visible outside.
var (
	errClientClosed = errors.New("channels: closed by the client")
	errServerClosed = errors.New("channels: closed by the server")
	errNotPolled    = errors.New("channels: session no longer polled")
)
