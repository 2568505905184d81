// Package wstest is a small blocking WebSocket client for tests. It can send
// what no honest client would.
package wstest

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
)

// DefaultTimeout bounds each operation of a Client. It is long because the
// machines that run tests are loaded; a test that passes never waits for it.
// It is shorter than the time after which servers close silent connections.
const DefaultTimeout = 50 * time.Second

// Key is the Sec-WebSocket-Key that Dial sends, RFC 6455's own example.
const Key = "dGhlIHNhbXBsZSBub25jZQ=="

// accept is the Sec-WebSocket-Accept that belongs to Key.
const accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

// CloseError is a close frame from the server. Code is 1005 if it had none.
type CloseError struct {
	Code   uint16
	Reason string
}

// Error is the code and the reason.
func (e *CloseError) Error() string {
	return fmt.Sprintf("wstest: closed with %d %q", e.Code, e.Reason)
}

// StatusError is an answer to the handshake that is not a 101.
type StatusError struct {
	Status int
	Header http.Header
	Body   string
}

// Error is the status and the body.
func (e *StatusError) Error() string { return fmt.Sprintf("wstest: status %d: %s", e.Status, e.Body) }

// Client is one connection. One goroutine may read while another writes.
type Client struct {
	// Timeout bounds each read of a message and each write; set it before use.
	Timeout time.Duration
	// Header is the header of the 101.
	Header http.Header
	// Compressed is how many messages came compressed. They can if the
	// handshake's header offers permessage-deflate and the server agrees to it;
	// what is read is decompressed.
	Compressed int

	conn net.Conn
	r    *bufio.Reader
}

// Dial connects to addr (host:port) and does the handshake for path, which may
// have a query. header replaces and adds to the handshake's own; a key with no
// values leaves that header out. An answer other than 101 is a *StatusError.
func Dial(addr, path string, header http.Header) (*Client, error) {
	conn, err := net.DialTimeout("tcp", addr, DefaultTimeout)
	if err != nil {
		return nil, err
	}
	c, err := NewClient(conn, path, header)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// NewClient is Dial on a connection that is there already, for example TLS.
// On an error the connection stays the caller's.
func NewClient(conn net.Conn, path string, header http.Header) (*Client, error) {
	c := &Client{Timeout: DefaultTimeout, conn: conn, r: bufio.NewReader(conn)}
	if err := c.WriteRaw(AppendHandshake(nil, path, header)); err != nil {
		return nil, err
	}
	return c, c.ReadHandshake()
}

// Connect opens a TCP connection to addr and sends nothing: the test writes
// its own handshake (AppendHandshake) by WriteRaw and then calls
// ReadHandshake.
func Connect(addr string) (*Client, error) {
	conn, err := net.DialTimeout("tcp", addr, DefaultTimeout)
	if err != nil {
		return nil, err
	}
	return &Client{Timeout: DefaultTimeout, conn: conn, r: bufio.NewReader(conn)}, nil
}

// AppendHandshake appends the request head that Dial sends.
func AppendHandshake(dst []byte, path string, header http.Header) []byte {
	h := http.Header{
		"Host":                  {"localhost"},
		"Upgrade":               {"websocket"},
		"Connection":            {"Upgrade"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {Key},
	}
	for name, values := range header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	b := bytes.NewBuffer(dst)
	fmt.Fprintf(b, "GET %s HTTP/1.1\r\n", path)
	// A bytes.Buffer takes everything.
	_ = h.Write(b)
	b.WriteString("\r\n")
	return b.Bytes()
}

// ReadHandshake reads the answer to a handshake with Key. It is a *StatusError
// if it is not a 101.
func (c *Client) ReadHandshake() error {
	if err := c.conn.SetReadDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		return &StatusError{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
	}
	if !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") || resp.Header.Get("Sec-Websocket-Accept") != accept {
		return errors.New("wstest: 101 with a wrong Upgrade or Sec-WebSocket-Accept")
	}
	c.Header = resp.Header
	return nil
}

// ReadMessage returns the next text or binary message. Pings that come before
// it are answered. A close frame is answered with its own code and returned as
// a *CloseError; the end of the connection without one is io.EOF or another
// error of the network.
func (c *Client) ReadMessage() (binaryMessage bool, payload []byte, err error) {
	for {
		op, payload, err := c.ReadFrame()
		if err != nil {
			return false, nil, err
		}
		switch op {
		case ws.OpText, ws.OpBinary:
			return op == ws.OpBinary, payload, nil
		case ws.OpPing:
			if err := c.WriteFrame(ws.OpPong, payload); err != nil {
				return false, nil, err
			}
		case ws.OpClose:
			closed := &CloseError{Code: uint16(ws.StatusNoStatusRcvd)}
			if len(payload) >= 2 {
				closed.Code = binary.BigEndian.Uint16(payload)
				closed.Reason = string(payload[2:])
				payload = payload[:2]
			}
			// The server may be gone already; its close is what counts.
			_ = c.WriteFrame(ws.OpClose, payload)
			return false, nil, closed
		}
	}
}

// ReadFrame returns the next frame, pings and closes included, as it is or
// decompressed. Fragments and masked frames, which no server of ours sends, are
// errors, and so is compression that the server has not agreed to.
func (c *Client) ReadFrame() (ws.OpCode, []byte, error) {
	// A connection that the peer has ended has no deadline any longer; what came before may
	// be in c.r.
	_ = c.conn.SetReadDeadline(time.Now().Add(c.Timeout))
	head, err := ws.ReadHeader(c.r)
	if err != nil {
		return 0, nil, err
	}
	compressed := head.Rsv1() && head.OpCode.IsData() && c.deflates()
	if !head.Fin || head.Masked || head.Rsv != 0 && !compressed || head.OpCode == ws.OpContinuation {
		return 0, nil, fmt.Errorf("wstest: unexpected frame %+v", head)
	}
	payload := make([]byte, head.Length)
	if _, err = io.ReadFull(c.r, payload); err != nil || !compressed {
		return head.OpCode, payload, err
	}
	c.Compressed++
	f, err := wsflate.DecompressFrame(ws.Frame{Header: head, Payload: payload})
	return head.OpCode, f.Payload, err
}

// deflates reports whether the server has agreed to compression.
func (c *Client) deflates() bool {
	return strings.HasPrefix(c.Header.Get("Sec-Websocket-Extensions"), wsflate.ExtensionName)
}

// WriteCompressed sends one masked, unfragmented, compressed frame, agreed on
// or not.
func (c *Client) WriteCompressed(op ws.OpCode, payload []byte) error {
	frame, err := AppendCompressed(nil, op, payload)
	if err != nil {
		return err
	}
	return c.WriteRaw(frame)
}

// AppendCompressed appends what WriteCompressed sends.
func AppendCompressed(dst []byte, op ws.OpCode, payload []byte) ([]byte, error) {
	f, err := wsflate.CompressFrame(ws.NewFrame(op, true, payload))
	if err != nil {
		return nil, err
	}
	b := bytes.NewBuffer(dst)
	err = ws.WriteFrame(b, ws.MaskFrameInPlaceWith(f, mask))
	return b.Bytes(), err
}

// WriteText sends one text message.
func (c *Client) WriteText(text string) error { return c.WriteFrame(ws.OpText, []byte(text)) }

// WriteBinary sends one binary message.
func (c *Client) WriteBinary(payload []byte) error { return c.WriteFrame(ws.OpBinary, payload) }

// WriteFrame sends one masked, unfragmented frame.
func (c *Client) WriteFrame(op ws.OpCode, payload []byte) error {
	return c.WriteRaw(AppendFrame(nil, true, op, payload))
}

// WriteRaw sends bytes as they are, in one write.
func (c *Client) WriteRaw(b []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(b)
	return err
}

// Close sends a close frame with 1000, waits for the server's and ends the
// connection. It returns nil if the server answered with a close frame.
func (c *Client) Close() error {
	defer c.conn.Close()
	if err := c.WriteFrame(ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, "")); err != nil {
		return err
	}
	for {
		op, _, err := c.ReadFrame()
		if err != nil || op == ws.OpClose {
			return err
		}
	}
}

// Drop ends the TCP connection without a close frame.
func (c *Client) Drop() error { return c.conn.Close() }

// Conn is the connection below, for example to set a small receive buffer.
func (c *Client) Conn() net.Conn { return c.conn }

// mask is the masking key of every frame; tests want the same bytes each time.
var mask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// AppendFrame appends one masked frame to dst, to send several in one write or
// in pieces. payload is not modified.
func AppendFrame(dst []byte, fin bool, op ws.OpCode, payload []byte) []byte {
	b := bytes.NewBuffer(dst)
	// A bytes.Buffer takes everything.
	_ = ws.WriteFrame(b, ws.MaskFrameWith(ws.NewFrame(op, fin, payload), mask))
	return b.Bytes()
}
