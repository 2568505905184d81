package wstest_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/internal/websocket"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a blocking server for one connection: the whole way through package
// websocket, over a real socket.
type echo struct {
	conn    net.Conn
	deflate websocket.Deflate
	out     []byte
}

func (e *echo) HandleMessage(binary bool, payload []byte) error {
	op := websocket.OpText
	if binary {
		op = websocket.OpBinary
	}
	if e.deflate.Takes(len(payload)) {
		if c := websocket.Compress(op, payload); c != nil {
			defer c.Release()
			e.out = append(e.out, c.Bytes()...)
			return nil
		}
	}
	e.out = websocket.AppendFrame(e.out, op, payload)
	return nil
}

func (e *echo) HandleOverhead(int) error { return nil }

func (e *echo) HandleControl(op websocket.Op, payload []byte) error {
	switch op {
	case websocket.OpPing:
		e.out = websocket.AppendFrame(e.out, websocket.OpPong, payload)
	case websocket.OpClose:
		e.out = websocket.AppendCloseReply(e.out, payload)
		return websocket.ErrStop
	}
	return nil
}

func (e *echo) serve() error {
	defer e.conn.Close()
	var head []byte
	b := make([]byte, 7) // short reads, so that everything is cut
	end := -1
	for end < 0 {
		n, err := e.conn.Read(b)
		if err != nil {
			return err
		}
		head = append(head, b[:n]...)
		end = websocket.HeadEnd(head, len(head)-n)
	}
	if err := e.answer(head[:end]); err != nil {
		return err
	}
	return e.messages(head[end:], b)
}

// answer does the handshake, with a refusal for the path /refused.
func (e *echo) answer(head []byte) error {
	r, err := websocket.ParseRequest(head)
	if err == nil {
		err = r.CheckUpgrade()
	}
	var refused *websocket.HandshakeError
	switch {
	case errors.As(err, &refused):
		e.out = websocket.AppendRefusal(e.out, refused.Status, refused.Header(), []byte(refused.Reason))
	case r.Path == "/refused":
		err = io.EOF
		e.out = websocket.AppendRefusal(e.out, http.StatusForbidden, nil, nil)
	default:
		e.deflate = r.NegotiateDeflate()
		accept := websocket.Accept{Key: r.Key(), Deflate: e.deflate}
		if slices.Contains(r.Protocols(), "phoenix") {
			accept.Protocol = "phoenix"
		}
		e.out = websocket.AppendAccept(e.out, accept)
	}
	return errors.Join(err, e.flush())
}

func (e *echo) messages(data, b []byte) error {
	d := websocket.Decoder{Deflate: e.deflate}
	defer d.Reset()
	for {
		err := d.Feed(data, e)
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			e.out = websocket.AppendClose(e.out, closed.Code, "")
		}
		if err := errors.Join(err, e.flush()); err != nil {
			return err
		}
		n, err := e.conn.Read(b)
		if err != nil {
			return err
		}
		data = b[:n]
	}
}

func (e *echo) flush() error {
	_, err := e.conn.Write(e.out)
	e.out = e.out[:0]
	return err
}

// listen serves connections one after the other until the test ends.
func listen(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			// How it ends is seen by the client.
			_ = (&echo{conn: conn}).serve()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func TestEcho(t *testing.T) {
	c, err := wstest.Dial(listen(t), "/socket/websocket?vsn=2.0.0", http.Header{"Sec-WebSocket-Protocol": {"phoenix"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Drop()
	if got := c.Header.Get("Sec-Websocket-Protocol"); got != "phoenix" {
		t.Errorf("subprotocol %q", got)
	}
	long := strings.Repeat("é", 40000)
	for _, send := range []func() error{
		func() error { return c.WriteText("one") },
		func() error { return c.WriteFrame(ws.OpPing, []byte("skipped by ReadMessage")) },
		func() error { return c.WriteText(long) },
		func() error { return c.WriteBinary([]byte{0, 255}) },
	} {
		if err := send(); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"one", long, "\x00\xff"} {
		binary, got, err := c.ReadMessage()
		if err != nil || string(got) != want || binary != (want[0] == 0) {
			t.Fatalf("%.20q binary %v, %v; want %.20q", got, binary, err, want)
		}
	}
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestCompressedEcho(t *testing.T) {
	c, err := wstest.Dial(listen(t), "/", http.Header{"Sec-WebSocket-Extensions": {"permessage-deflate; client_max_window_bits"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Drop()
	long := strings.Repeat("é, ", 10000)
	for i, message := range []string{long, "short", long[:1000]} {
		if err := c.WriteCompressed(ws.OpText, []byte(message)); err != nil {
			t.Fatal(err)
		}
		_, got, err := c.ReadMessage()
		if err != nil || string(got) != message || c.Compressed != []int{1, 1, 2}[i] {
			t.Fatalf("%.20q, %v, %d compressed; want %.20q", got, err, c.Compressed, message)
		}
	}
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestEarlyFramesInPieces(t *testing.T) {
	c, err := wstest.Connect(listen(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Drop()
	b := wstest.AppendHandshake(nil, "/", nil)
	b = wstest.AppendFrame(b, false, ws.OpText, []byte("ear"))
	b = wstest.AppendFrame(b, true, ws.OpContinuation, []byte("ly"))
	if err := c.WriteRaw(b); err != nil {
		t.Fatal(err)
	}
	if err := c.ReadHandshake(); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.ReadMessage(); err != nil || string(got) != "early" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestServerCloses(t *testing.T) {
	c, err := wstest.Dial(listen(t), "/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Drop()
	if err := c.WriteRaw([]byte{0x81, 0x00}); err != nil {
		t.Fatal(err)
	}
	_, _, err = c.ReadMessage()
	var closed *wstest.CloseError
	if !errors.As(err, &closed) || closed.Code != websocket.CloseProtocolError || closed.Reason != "" {
		t.Errorf("unmasked frame: %v", err)
	}
	if _, _, err := c.ReadMessage(); err == nil {
		t.Error("a message after the close")
	}
}

func TestRefused(t *testing.T) {
	addr := listen(t)
	for _, c := range []struct {
		path   string
		header http.Header
		status int
	}{
		{"/refused", nil, 403},
		{"/", http.Header{"Upgrade": nil}, 400},
		{"/", http.Header{"sec-websocket-version": {"8"}}, 426},
	} {
		_, err := wstest.Dial(addr, c.path, c.header)
		var status *wstest.StatusError
		if !errors.As(err, &status) || status.Status != c.status {
			t.Errorf("%s %v: %v, want status %d", c.path, c.header, err, c.status)
		}
	}
}
