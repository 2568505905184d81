package main

import (
	"errors"
	"time"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

const (
	// maxMessage is the largest message and frame in bytes: the largest of
	// Autobahn's cases (9.*).
	maxMessage = 16 << 20
	// outboundBytes bounds what waits for one connection: an answer of that size
	// with its head, and pongs behind it.
	outboundBytes = maxMessage + 1<<20
	// idleTimeout ends a connection that Autobahn has forgotten. It is longer than
	// any of its cases waits.
	idleTimeout = time.Minute
	// closeGrace is how long a Close frame may take to leave, as in channels.
	closeGrace = 5 * time.Second
)

var limits = websocket.Limits{MaxFrame: maxMessage}

// Why a connection ended; netloop wants a reason.
var (
	errIdle         = errors.New("echo: idle")
	errClientClosed = errors.New("echo: closed by the client")
	errServerClosed = errors.New("echo: closed by the server")
)

// echoConn is a connection after its handshake. It drives decoder and loop as
// websocketConn of package channels does; its messages go back instead of to a
// socket.
type echoConn struct {
	conn    *netloop.Conn
	decoder websocket.Decoder
	deflate websocket.Deflate
	closed  bool // a Close frame is sent
}

func newEchoConn(c *netloop.Conn, deflate websocket.Deflate) *echoConn {
	e := &echoConn{conn: c, deflate: deflate}
	e.decoder.Limits, e.decoder.Deflate = &limits, deflate
	return e
}

// HandleOpen is netloop's; the front has the connection when it opens.
func (e *echoConn) HandleOpen(*netloop.Conn) {}

// HandleData decodes what came.
func (e *echoConn) HandleData(_ *netloop.Conn, data []byte) {
	var wrong *websocket.CloseError
	if errors.As(e.decoder.Feed(data, e), &wrong) {
		e.close(wrong.Code)
	}
}

// HandleMessage sends a message back, compressed if that was agreed on and
// gains something.
func (e *echoConn) HandleMessage(binary bool, payload []byte) error {
	if e.closed {
		return websocket.ErrStop
	}
	op := websocket.OpText
	if binary {
		op = websocket.OpBinary
	}
	if e.deflate.Takes(len(payload)) {
		if c := websocket.Compress(op, payload); c != nil {
			f := netloop.NewFrame(len(c.Bytes()))
			f.Append(c.Bytes())
			c.Release()
			e.conn.Send(f)
			return nil
		}
	}
	e.send(op, payload)
	return nil
}

// HandleOverhead takes no notice.
func (e *echoConn) HandleOverhead(int) error { return nil }

// HandleControl answers ping and close.
func (e *echoConn) HandleControl(op websocket.Op, payload []byte) error {
	if e.closed {
		return websocket.ErrStop
	}
	switch op {
	case websocket.OpPing:
		e.send(websocket.OpPong, payload)
	case websocket.OpClose:
		f := netloop.NewFrame(websocket.MaxHeaderSize + len(payload))
		f.SetBytes(websocket.AppendCloseReply(f.Bytes(), payload))
		e.endConn(f, errClientClosed)
		return websocket.ErrStop
	}
	return nil
}

// HandleTimeout ends a silent connection.
func (e *echoConn) HandleTimeout(*netloop.Conn) { e.close(websocket.CloseProtocolError) }

// HandleClose is the end of the connection, however it came.
func (e *echoConn) HandleClose(*netloop.Conn, error) {
	e.closed = true
	e.decoder.Reset()
}

func (e *echoConn) send(op websocket.Op, payload []byte) {
	f := netloop.NewFrame(websocket.MaxHeaderSize + len(payload))
	f.SetBytes(websocket.AppendFrame(f.Bytes(), op, payload))
	e.conn.Send(f)
}

// close sends a Close frame and ends the connection when it is written.
func (e *echoConn) close(code uint16) {
	if e.closed {
		return
	}
	f := netloop.NewFrame(websocket.MaxHeaderSize)
	f.SetBytes(websocket.AppendClose(f.Bytes(), code, ""))
	e.endConn(f, errServerClosed)
}

// endConn is the last thing that is sent.
func (e *echoConn) endConn(closeFrame *netloop.Frame, reason error) {
	e.closed = true
	e.conn.Send(closeFrame)
	e.conn.CloseAfterFlush(reason, closeGrace)
	e.decoder.Reset()
}
