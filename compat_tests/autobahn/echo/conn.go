package main

import (
	"errors"
	"time"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

const (
	// maxMessage bounds messages and frames, in bytes. It is the largest size in
	// Autobahn's cases (9.*).
	maxMessage = 16 << 20
	// outboundBytes bounds what waits for a connection: an answer of that size with its
	// header, and pongs after it.
	outboundBytes = maxMessage + 1<<20
	// idleTimeout ends a connection that Autobahn has forgotten. No case waits that long.
	idleTimeout = time.Minute
	// closeGrace is how long a Close frame may take to be sent, as in channels.
	closeGrace = 5 * time.Second
)

var limits = websocket.Limits{MaxFrame: maxMessage}

// The reasons for the end of a connection, for netloop.
var (
	errIdle         = errors.New("echo: idle")
	errClientClosed = errors.New("echo: closed by the client")
	errServerClosed = errors.New("echo: closed by the server")
)

// echoConn is a connection after its handshake. It uses the decoder and the loop as
// websocketConn of package channels does, but sends messages back instead of passing them
// to a socket.
type echoConn struct {
	conn    *netloop.Conn
	decoder websocket.Decoder
	deflate websocket.Deflate
	closed  bool // a Close frame has been sent
}

func newEchoConn(c *netloop.Conn, deflate websocket.Deflate) *echoConn {
	e := &echoConn{conn: c, deflate: deflate}
	e.decoder.Deflate = deflate
	return e
}

// HandleOpen implements netloop.Handler. It is not called, because the front opens the
// connection.
func (e *echoConn) HandleOpen(*netloop.Conn) {}

// HandleData decodes data.
func (e *echoConn) HandleData(_ *netloop.Conn, data []byte) {
	var wrong *websocket.CloseError
	if _, err := e.decoder.FeedSome(data, &limits, e); errors.As(err, &wrong) {
		e.close(wrong.Code)
	}
}

// HandleMessage sends a message back, compressed if that was negotiated and makes it
// smaller.
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

// HandleOverhead does nothing.
func (e *echoConn) HandleOverhead(int) error { return nil }

// HandleControl answers pings and Close frames.
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

// HandleClose is called at the end of the connection.
func (e *echoConn) HandleClose(*netloop.Conn, error) {
	e.closed = true
	e.decoder.Reset()
}

func (e *echoConn) send(op websocket.Op, payload []byte) {
	f := netloop.NewFrame(websocket.MaxHeaderSize + len(payload))
	f.SetBytes(websocket.AppendFrame(f.Bytes(), op, payload))
	e.conn.Send(f)
}

// close sends a Close frame, and closes the connection when it has been written.
func (e *echoConn) close(code uint16) {
	if e.closed {
		return
	}
	f := netloop.NewFrame(websocket.MaxHeaderSize)
	f.SetBytes(websocket.AppendClose(f.Bytes(), code, ""))
	e.endConn(f, errServerClosed)
}

// endConn sends the last frame.
func (e *echoConn) endConn(closeFrame *netloop.Frame, reason error) {
	e.closed = true
	e.conn.Send(closeFrame)
	e.conn.CloseAfterFlush(reason, closeGrace)
	e.decoder.Reset()
}
