package channels_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

const (
	extensions  = "Sec-Websocket-Extensions"
	deflateName = "permessage-deflate"
)

// offering is the header of a client that can decompress.
func offering(extension string) http.Header { return http.Header{extensions: {extension}} }

var compressing = channels.SocketOptions{Compress: true}

// longText is a payload that is worth compressing, of about n bytes.
func longText(n int) string { return `{"body":"` + strings.Repeat("again, ", n/7) + `"}` }

// pushCompressed sends a compressed message.
func (p *peer) pushCompressed(joinRef, topic, event, payload string) (ref string) {
	p.t.Helper()
	p.refs++
	ref = fmt.Sprint(p.refs)
	if err := p.WriteCompressed(ws.OpText, []byte(p.text(joinRef, ref, topic, event, payload))); err != nil {
		p.t.Fatal(err)
	}
	return ref
}

// assertCompressed fails the test unless want messages have come compressed
// since its last call.
func (p *peer) assertCompressed(what string, want int) {
	p.t.Helper()
	if p.Compressed != want {
		p.t.Errorf("%s: %d messages came compressed, want %d", what, p.Compressed, want)
	}
	p.Compressed = 0
}

func TestCompressedMessages(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, compressing, room())
		for _, target := range []string{"/socket/websocket?vsn=2.0.0", "/socket/websocket"} {
			p := s.dialTarget(t, target, offering("permessage-deflate; client_max_window_bits"))
			ref := p.join("room:1", "{}")
			p.assertCompressed("a short reply", 0)
			long := longText(3000)
			p.assertReply(ref, "room:1", "echo", long, "ok", long)
			p.assertCompressed("a long reply", 1)
			for _, payload := range []string{long, longText(40_000), `{"short":1}`} {
				echo := p.pushCompressed(ref, "room:1", "echo", payload)
				if m := p.await("phx_reply"); m.ref != echo || string(m.response) != payload {
					t.Errorf("the echo of %d bytes: %.100s", len(payload), m)
				}
			}
			p.assertCompressed("two long echoes and a short one", 2)
			p.pushCompressed(ref, "room:1", "secret", long)
			if m := p.await("secret"); m.joinRef != ref && !p.v1 || !strings.Contains(string(m.payload), "again, again") {
				t.Errorf("an intercepted broadcast: %.100s", m)
			}
			p.assertCompressed("an intercepted broadcast", 1)
		}
	})
}

func TestCompressedBytes(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, compressing, room())
		p := s.dialTarget(t, "/socket/websocket?vsn=2.0.0", offering(deflateName))
		ref := p.join("room:1", "{}")
		noise := make([]byte, 3000)
		rand.Read(noise)
		for i, data := range [][]byte{bytes.Repeat([]byte{7}, 3000), noise} {
			if err := p.WriteCompressed(ws.OpBinary, bytesPush(ref, "9", "room:1", "bytes", data)); err != nil {
				t.Fatal(err)
			}
			m, err := p.read()
			if err != nil || m.status != "ok" || !bytes.Equal(m.binary, data) {
				t.Errorf("%d bytes come back as %v, %v", len(data), m, err)
			}
			p.assertCompressed("bytes that can be compressed, and noise", 1-i)
		}
	})
}

// Everybody gets a broadcast in the form that was agreed on.
func TestCompressedBroadcast(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, compressing, room())
		type listener struct {
			*peer
			compressed int // of one long broadcast
		}
		var all []listener
		for _, target := range []string{"/socket/websocket?vsn=2.0.0", "/socket/websocket"} {
			for _, c := range []struct {
				offer      string
				compressed int
			}{
				{deflateName, 1},
				{"permessage-deflate; server_no_context_takeover; client_no_context_takeover", 1},
				{"permessage-deflate; server_max_window_bits=15", 1},
				{"permessage-deflate; server_max_window_bits=10", 0}, // the message is longer
				{"x-webkit-deflate-frame", 0},
			} {
				for range 2 { // one for each loop
					p := s.dialTarget(t, target, offering(c.offer))
					p.join("room:all", "{}")
					all = append(all, listener{p, c.compressed})
				}
			}
		}
		for n := range 5 {
			body := fmt.Sprintf("%d%s", n, strings.Repeat(" lorem ipsum", 300))
			if err := s.Broadcast("room:all", "news", text{body}); err != nil {
				t.Fatal(err)
			}
			if err := s.Broadcast("room:all", "brief", text{fmt.Sprint(n)}); err != nil {
				t.Fatal(err)
			}
			for i, p := range all {
				p.assertNext("", "room:all", "news", `{"body":"`+body+`"}`)
				p.assertNext("", "room:all", "brief", fmt.Sprintf(`{"body":"%d"}`, n))
				p.assertCompressed(fmt.Sprintf("listener %d", i), p.compressed)
			}
		}
	})
}

func TestCompressionIsAgreedOn(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, compressing, room())
		s.Socket("/off", channels.SocketOptions{}, room())
		const answer = "permessage-deflate;server_no_context_takeover;client_no_context_takeover"
		for _, c := range []struct{ path, offer, answer string }{
			{"/socket", deflateName, answer},
			{"/socket", "permessage-deflate; server_max_window_bits=9", answer + ";server_max_window_bits=9"},
			{"/socket", "permessage-deflate; foo=1", ""},
			{"/socket", "", ""},
			{"/off", deflateName, ""},
		} {
			header := http.Header{}
			if c.offer != "" {
				header = offering(c.offer)
			}
			p := s.dialTarget(t, c.path+"/websocket?vsn=2.0.0", header)
			if got := p.Header.Get(extensions); got != c.answer {
				t.Errorf("%s, %q: the answer is %q, want %q", c.path, c.offer, got, c.answer)
			}
			ref := p.join("room:1", "{}")
			p.assertReply(ref, "room:1", "echo", longText(2000), "ok", longText(2000))
			if c.answer != "" {
				p.pushCompressed(ref, "room:1", "echo", "{}")
				p.await("phx_reply")
				continue
			}
			p.assertCompressed(c.path, 0)
			p.pushCompressed(ref, "room:1", "echo", "{}")
			if code := p.closeCode(); code != 1002 {
				t.Errorf("%s, %q: a compressed message is answered by %d", c.path, c.offer, code)
			}
		}
	})
}

// A fault of a client ends its own socket, with the code for that fault.
func TestCompressionFaults(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{Compress: true, MaxMessage: 100_000}, room())
		header := offering(deflateName)
		good := s.dialTarget(t, "/socket/websocket?vsn=2.0.0", header)
		ref := good.join("room:1", "{}")
		compressed := func(text string) []byte {
			f, err := wsflate.CompressFrame(ws.NewTextFrame([]byte(text)))
			if err != nil {
				t.Fatal(err)
			}
			return f.Payload
		}
		frame := func(rsv byte, op ws.OpCode, fin bool, payload []byte) []byte {
			b := wstest.AppendFrame(nil, fin, op, payload)
			b[0] |= rsv
			return b
		}
		message := compressed(`[null,"1","phoenix","heartbeat",{}]`)
		for name, c := range map[string]struct {
			stream []byte
			code   uint16
		}{
			"a message over the limit": {frame(0x40, ws.OpText, true, compressed(longText(101_000))), 1009},
			"a bomb":                   {frame(0x40, ws.OpText, true, compressed(strings.Repeat(" ", 1<<20))), 1009},
			"garbage":                  {frame(0x40, ws.OpText, true, []byte("\xff\xff\xff\xff")), 1007},
			"cut short":                {frame(0x40, ws.OpText, true, message[:10]), 1007},
			"text that is not UTF-8":   {frame(0x40, ws.OpText, true, compressed("\"\xff\"")), 1007},
			"no JSON":                  {frame(0x40, ws.OpText, true, compressed("hello")), 1011},
			"a compressed ping":        {frame(0x40, ws.OpPing, true, []byte("x")), 1002},
			"RSV2 too":                 {frame(0x60, ws.OpText, true, message), 1002},
			"RSV1 on a continuation":   {append(frame(0x40, ws.OpText, false, message[:5]), frame(0x40, ws.OpContinuation, true, message[5:])...), 1002},
		} {
			p := s.dialTarget(t, "/socket/websocket?vsn=2.0.0", header)
			p.join("room:1", "{}")
			if err := p.WriteRaw(c.stream); err != nil {
				t.Fatal(err)
			}
			if code := p.closeCode(); code != c.code {
				t.Errorf("%s: closed with %d, want %d", name, code, c.code)
			}
		}
		// In fragments with a ping between, and the next one plain.
		b := frame(0x40, ws.OpText, false, message[:5])
		b = wstest.AppendFrame(b, true, ws.OpPing, []byte("between"))
		b = wstest.AppendFrame(b, true, ws.OpContinuation, message[5:])
		if err := good.WriteRaw(b); err != nil {
			t.Fatal(err)
		}
		if op, payload, err := good.ReadFrame(); err != nil || op != ws.OpPong || string(payload) != "between" {
			t.Errorf("pong: %v %q, %v", op, payload, err)
		}
		if m := good.await("phx_reply"); m.topic != "phoenix" {
			t.Errorf("heartbeat in fragments: %v", m)
		}
		good.assertReply(ref, "room:1", "echo", `{"n":1}`, "ok", `{"n":1}`)
	})
}

func TestCompressionInsideAnotherServer(t *testing.T) {
	s := serve(t, channels.Options{Loops: 1}, compressing, room())
	outer := httptest.NewServer(s)
	t.Cleanup(outer.Close)
	inner := &server{s.Endpoint, outer.Listener.Addr().String()}
	p := inner.dialTarget(t, "/socket/websocket?vsn=2.0.0", offering(deflateName))
	ref := p.join("room:1", "{}")
	long := longText(3000)
	p.pushCompressed(ref, "room:1", "echo", long)
	if m := p.await("phx_reply"); string(m.response) != long {
		t.Errorf("%.100s", m)
	}
	p.assertCompressed("an echo", 1)
}

// TestFarInflatedMessage: how far a message inflates does not matter within
// Limits.MaxMessage.
func TestFarInflatedMessage(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, compressing, room())
		p := s.dialTarget(t, "/socket/websocket?vsn=2.0.0", offering("permessage-deflate"))
		ref := p.join("room:1", "{}")
		for _, n := range []int{33_000, 300_000} {
			zeros := `"` + strings.Repeat("0", n) + `"`
			echo := p.pushCompressed(ref, "room:1", "echo", zeros)
			if m := p.await("phx_reply"); m.ref != echo || string(m.response) != zeros {
				t.Errorf("%d zeros: %.100s", n, m)
			}
		}
	})
}
