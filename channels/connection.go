package channels

import (
	"errors"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
	"github.com/mycelium-rt/mycelium/wire"
)

// connection is a socket's own connection, by WebSocket or raw TCP. It gets bytes from
// the loop, feeds them to the decoder of its protocol, and gives messages to the socket.
// All of it belongs to the loop.
type connection struct {
	socket Socket
	conn   *netloop.Conn
	ticket *admission.Ticket
}

// protocol is the type that embeds a connection. It has the decoder.
type protocol interface {
	netloop.Handler
	// feed decodes data until the socket is held up.
	feed(data []byte)
	// forget frees what was decoded in part.
	forget()
	// appendHeader appends the header of a ping or a pong with n bytes.
	appendHeader(dst []byte, op websocket.Op, n int) []byte
	appendClose(dst []byte, code uint16, reason string) []byte
	appendCloseReply(dst, payload []byte) []byte
	// reasonFor returns the reason in the close after an error of the client.
	reasonFor(err error) string
}

func (c *connection) protocol() protocol { return c.socket.transport.(protocol) }

// open sends the answer to the handshake, whose size is about size bytes, and opens the
// socket. c gives t back when conn is closed.
func (c *connection) open(conn *netloop.Conn, t *admission.Ticket, size int, answer func([]byte) []byte) {
	e := c.socket.endpoint
	c.ticket = t
	conn.SetHandler(c.protocol())
	conn.SetTenant(e.tenant)
	conn.SetNewcomer(c.socket.mount.limits.HandshakeWait > 0) // until settle
	c.conn, c.socket.loop = conn, e.tenant.Lanes()[conn.Loop().Index()]
	e.connections.Add(1)
	e.gate.AddSockets(1)
	f := netloop.NewFrame(size)
	f.SetBytes(answer(f.Bytes()))
	conn.Send(f)
	conn.SetDeadline(max(0, c.socket.mount.options.IdleTimeout))
	defer func() {
		if e.isDraining() { // it was admitted just before
			c.close(closeRestart, "")
		}
	}()
	c.socket.open()
}

// mayFeed counts data that has been read, and reports whether it is to be decoded now.
func (c *connection) mayFeed(data []byte) bool {
	c.socket.countWire(len(data))
	if h := c.socket.findHold(); h != nil && len(h.unread) > 0 { // read before reading was paused
		h.unread = append(h.unread, data...)
		return false
	}
	return true
}

// fed handles the outcome of a decoder's FeedSome, which decodes until the socket is held
// up. The rest of the data then waits for resume.
func (c *connection) fed(rest []byte, err error) {
	switch {
	case err == nil: // return before wrong is allocated
		return
	case errors.Is(err, websocket.ErrPause):
		h := c.socket.findHold()
		h.unread = append(h.unread, rest...)
		return
	}
	var wrong *websocket.CloseError
	if errors.As(err, &wrong) {
		if wrong.Code == websocket.CloseTooBig {
			c.socket.limitReached("max_message", wrong.Reason)
		} else {
			c.socket.line(zerolog.DebugLevel, "protocol error").Int("code", int(wrong.Code)).Str("reason", wrong.Reason).Write()
		}
		c.closeWithin(wrong.Code, c.protocol().reasonFor(err), refusalGrace)
	}
}

// HandleOpen implements netloop.Handler. Connections are opened by open.
func (c *connection) HandleOpen(*netloop.Conn) {}

// HandleMessage passes a message to the socket.
func (c *connection) HandleMessage(binary bool, payload []byte) error {
	if c.socket.closed() {
		return websocket.ErrStop
	}
	if err := c.socket.handleMessage(binary, payload); err != nil {
		c.socket.line(zerolog.DebugLevel, "malformed message").Err(err).Write()
		c.closeWithin(closeInternalError, c.protocol().reasonFor(err), refusalGrace)
		return websocket.ErrStop
	}
	if c.socket.findHold().stopsDecoding() {
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
func (c *connection) HandleControl(op websocket.Op, payload []byte) error {
	if c.socket.closed() {
		return websocket.ErrStop
	}
	switch op {
	case websocket.OpPing:
		c.socket.countFrames(1)
		f := netloop.NewFrame(websocket.MaxHeaderSize + len(payload))
		f.SetBytes(append(c.protocol().appendHeader(f.Bytes(), websocket.OpPong, len(payload)), payload...))
		c.conn.Send(f)
	case websocket.OpPong:
		c.socket.countFrames(1)
		if p, ok := parseProbe(payload); ok {
			c.socket.answered(p)
		}
	case websocket.OpClose:
		f := netloop.NewFrame(websocket.MaxHeaderSize + len(payload))
		f.SetBytes(c.protocol().appendCloseReply(f.Bytes(), payload))
		c.endConn(f, errClientClosed, closeGrace, errClientClosed)
		return websocket.ErrStop
	}
	return nil
}

// HandleOverhead counts fragments, and messages that inflate far.
func (c *connection) HandleOverhead(units int) error {
	if c.socket.closed() {
		return websocket.ErrStop
	}
	c.socket.countFrames(units)
	if h := c.socket.findHold(); h != nil && units > 1 { // not a fragment
		h.large = true
	}
	return nil
}

// HandleTimeout ends a silent connection with the code of Phoenix on Bandit:
// after Cowboy's 1000 phoenix.js would not reconnect
// (assets/js/phoenix/socket.js, onConnClose).
func (c *connection) HandleTimeout(conn *netloop.Conn) {
	if c.socket.isHeld() { // the client may have sent heartbeats that were not read
		conn.SetDeadline(c.socket.mount.options.IdleTimeout)
		return
	}
	c.socket.line(zerolog.DebugLevel, "idle socket closed").Write()
	c.endWithCode(closeProtocolError, "", closeGrace, errIdle)
}

// HandleClose handles the end of the connection, whatever caused it.
func (c *connection) HandleClose(_ *netloop.Conn, reason error) {
	if errors.Is(reason, netloop.ErrSlowReceiver) {
		c.socket.line(zerolog.WarnLevel, "slow receiver disconnected").Str("limit", "outbound_bytes").Write()
	}
	defer func() {
		c.ticket.Leave()
		c.socket.endpoint.connections.Add(-1)
		c.socket.endpoint.gate.AddSockets(-1)
	}()
	c.protocol().forget()
	c.socket.logClosed(reason)
	c.socket.shutdown(reason)
}

// send queues a frame.
func (c *connection) send(f *netloop.Frame) { c.conn.Send(f) }

// close sends a Close frame and ends the connection when it is written.
func (c *connection) close(code uint16, reason string) { c.closeWithin(code, reason, closeGrace) }

// closeWithin is close with a bound on how long the client has to take its
// queued frames and to answer.
func (c *connection) closeWithin(code uint16, reason string, grace time.Duration) {
	c.endWithCode(code, reason, grace, serverClose(code))
}

// endWithCode sends a Close frame. why is the reason of the socket's end.
func (c *connection) endWithCode(code uint16, reason string, grace time.Duration, why error) {
	if c.socket.closed() {
		return
	}
	f := netloop.NewFrame(websocket.MaxHeaderSize + 2 + len(reason))
	f.SetBytes(c.protocol().appendClose(f.Bytes(), code, reason))
	c.endConn(f, errServerClosed, grace, why)
}

// endConn sends a Close frame, the last frame of the connection. The channels
// end now, because nothing of theirs may follow it. What the client still sends
// is read only for a short time. why is the reason of the socket's end.
func (c *connection) endConn(closeFrame *netloop.Frame, reason error, grace time.Duration, why error) {
	c.conn.Send(closeFrame)
	c.conn.CloseAfterFlush(reason, grace)
	c.protocol().forget()
	c.socket.shutdown(why)
}

// drop ends the connection without a Close frame.
func (c *connection) drop() {
	c.socket.shutdown(serverClose(0))
	c.conn.CloseAfterFlush(errServerClosed, closeGrace)
}

// settle has the loop read the connection before those of newcomers.
func (c *connection) settle() { c.conn.SetNewcomer(false) }

// hold stops reading; TCP slows the client down.
func (c *connection) hold() { c.conn.PauseRead() }

// resume decodes bytes that had been read when the socket was held up, which
// may hold it up again.
func (c *connection) resume(unread []byte) {
	if len(unread) > 0 {
		c.protocol().feed(unread)
	}
	if !c.socket.closed() && !c.socket.isHeld() {
		c.conn.ResumeRead()
	}
}

func (c *connection) lags(part int) bool { return c.conn.Lags(part) }

func (c *connection) notifyDrained() { c.conn.NotifyDrained() }

// HandleDrained implements netloop.Drained.
func (c *connection) HandleDrained(*netloop.Conn) { c.socket.drained() }

// undeliverable counts nothing: clients of version 1 do not know binary
// messages.
func (c *connection) undeliverable() {}

// probe sends a ping, which a client answers after what came before it.
func (c *connection) probe(p probe) {
	f := netloop.NewFrame(websocket.MaxHeaderSize + probeBytes)
	f.SetBytes(appendProbe(c.protocol().appendHeader(f.Bytes(), websocket.OpPing, probeBytes), p))
	c.conn.Send(f)
}

// Close reasons of connections, for counting. They are not visible outside.
var (
	errClientClosed = errors.New("channels: closed by the client")
	errServerClosed = errors.New("channels: closed by the server")
	errNotPolled    = errors.New("channels: session no longer polled")
)
