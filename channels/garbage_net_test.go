package channels_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// masked is one masked frame, whatever it holds.
func masked(fin bool, op ws.OpCode, payload string) []byte {
	return wstest.AppendFrame(nil, fin, op, []byte(payload))
}

// claim is the head of a masked frame that announces n bytes.
func claim(n uint64) []byte {
	b := binary.BigEndian.AppendUint64([]byte{0x82, 0xff}, n)
	return append(b, 1, 2, 3, 4)
}

// garbage is what no well-behaved client sends, by its name, with the code that
// the socket is closed with: malformed messages, and violations of RFC 6455,
// sections 5.1 to 5.5 and 7.4.
var garbage = map[string]struct {
	bytes []byte
	code  uint16
}{
	"unmasked text":         {[]byte{0x81, 0x02, 'h', 'i'}, 1002},
	"unmasked empty":        {[]byte{0x81, 0x00}, 1002},
	"reserved bit 1":        {[]byte{0xc1, 0x80, 1, 2, 3, 4}, 1002},
	"reserved bit 3":        {[]byte{0x91, 0x80, 1, 2, 3, 4}, 1002},
	"opcode 3":              {[]byte{0x83, 0x80, 1, 2, 3, 4}, 1002},
	"opcode 15":             {[]byte{0x8f, 0x80, 1, 2, 3, 4}, 1002},
	"continuation alone":    {masked(true, ws.OpContinuation, "x"), 1002},
	"text within a message": {append(masked(false, ws.OpText, "["), masked(true, ws.OpText, "]")...), 1002},
	"ping in fragments":     {masked(false, ws.OpPing, "x"), 1002},
	"long ping":             {[]byte{0x89, 0xfe, 0, 126, 1, 2, 3, 4}, 1002},
	"close of one byte":     {masked(true, ws.OpClose, "x"), 1002},
	"close with 999":        {masked(true, ws.OpClose, "\x03\xe7"), 1002},
	"close with 1005":       {masked(true, ws.OpClose, "\x03\xed"), 1002},
	"close with 5000":       {masked(true, ws.OpClose, "\x13\x88"), 1002},
	"close not UTF-8":       {masked(true, ws.OpClose, "\x03\xe8\xff"), 1007},
	"text not UTF-8":        {masked(true, ws.OpText, "[\"\xc3\x28\"]"), 1007},
	"fragment not UTF-8":    {append(masked(false, ws.OpText, "[\"\xe2\x82"), masked(true, ws.OpContinuation, "\"]")...), 1007},
	"a gigabyte":            {claim(1 << 30), 1009},
	"2^62 bytes":            {claim(1 << 62), 1009},
	"2^63 bytes":            {claim(1 << 63), 1002},
	"a TLS hello":           {[]byte{0x16, 0x03, 0x01, 0x02, 0x00}, 1002},
	"HTTP":                  {[]byte("GET / HTTP/1.1\r\n\r\n"), 1002},

	"empty text":          {masked(true, ws.OpText, ""), 1011},
	"not JSON":            {masked(true, ws.OpText, "nonsense"), 1011},
	"half an array":       {masked(true, ws.OpText, `["1","1","room:1"`), 1011},
	"an object":           {masked(true, ws.OpText, `{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}`), 1011},
	"four elements":       {masked(true, ws.OpText, `["1","1","room:1","echo"]`), 1011},
	"trailing garbage":    {masked(true, ws.OpText, `["1","1","room:1","echo",{}] x`), 1011},
	"byte order mark":     {masked(true, ws.OpText, "\xef\xbb\xbf"+`["1","1","room:1","echo",{}]`), 1011},
	"number out of range": {masked(true, ws.OpText, `["1","1","room:1","echo",1e400]`), 1011},
	"lone surrogate":      {masked(true, ws.OpText, `["1","1","room:1","echo","\ud800"]`), 1011},
	"control character":   {masked(true, ws.OpText, "[\"1\",\"1\",\"room:1\",\"echo\",\"\x01\"]"), 1011},
	"deep nesting":        {masked(true, ws.OpText, `["1","1","room:1","echo",`+strings.Repeat("[", 200_000)+`]`), 1011},
	"empty binary":        {masked(true, ws.OpBinary, ""), 1011},
	"binary kind 1":       {masked(true, ws.OpBinary, "\x01\x01\x01\x01\x0111aa"), 1011},
	"binary kind 9":       {masked(true, ws.OpBinary, "\x09"), 1011},
	"short binary head":   {masked(true, ws.OpBinary, "\x00\x01\x01"), 1011},
	"binary sizes lie":    {masked(true, ws.OpBinary, "\x00\xff\xff\xff\xff1"), 1011},
	"fragmented not JSON": {append(masked(false, ws.OpText, "no"), masked(true, ws.OpContinuation, "pe")...), 1011},
}

func TestGarbageOnASocket(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		ended := make(chan error, 100)
		ch := room()
		ch.Terminate(func(_ *channels.Context, reason error) { ended <- reason })
		s := serve(t, o, channels.SocketOptions{}, ch)
		stop := chat(t, s)
		for name, g := range garbage {
			for _, cut := range []bool{false, true} {
				p := s.dial(t)
				p.join("room:victim", "{}")
				p.writeCut(g.bytes, cut)
				// Nothing behind it is taken.
				p.WriteRaw(frames(`["1","9","room:victim","shout",{"body":"late"}]`)) // it may be closed
				if code := p.closeCode(); code != g.code && (!cut || code != 0) {
					t.Errorf("%s (a byte at a time: %v): closed with %d, want %d", name, cut, code, g.code)
				}
				if reason := <-ended; reason != channels.ErrClosed {
					t.Errorf("%s: the channel ended with %v", name, reason)
				}
			}
		}
		stop()
	})
}

// writeCut writes bytes at once, or each in a packet of its own; of many, only
// the last hundred.
func (p *peer) writeCut(b []byte, cut bool) {
	for cut && len(b) > 1 {
		n := 1
		if len(b) > 1000 {
			n = len(b) - 100
		}
		if p.WriteRaw(b[:n]) != nil {
			return // closed before the end
		}
		b = b[n:]
	}
	p.WriteRaw(b) // it may be closed
}

// Truncated frames and dropped connections, at every place in a message.
func TestTruncatedFrames(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{}, room())
		stop := chat(t, s)
		whole := socketHandshake() + string(frames(`["1","1","room:1","phx_join",{}]`, `["1","2","room:1","echo",{"body":"`+strings.Repeat("x", 300)+`"}]`))
		for cut := 1; cut < len(whole); cut += 13 {
			p := s.raw(t)
			p.write(whole[:cut])
			if cut%2 == 0 {
				p.Conn().(*net.TCPConn).CloseWrite()
				if _, err := io.Copy(io.Discard, p.Conn()); isTimeout(err) {
					t.Errorf("cut at %d: the connection stays", cut)
				}
			}
			p.Drop()
		}
		stop()
		waitFor(t, "all connections to be gone", func() bool { return s.Stats().Sockets == 0 && s.Stats().Network.Connections == 0 })
	})
}

// Random bytes, before and after the handshake.
func TestRandomBytes(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{}, room())
		stop := chat(t, s)
		r := rand.New(rand.NewPCG(1, 2))
		for i := range 60 {
			noise := make([]byte, 1+r.IntN(3000))
			for j := range noise {
				noise[j] = byte(r.Uint32())
			}
			p := s.raw(t)
			if i%2 == 0 {
				noise = append([]byte(socketHandshake()), noise...)
			} else {
				noise = append(bytes.ReplaceAll(noise, []byte{'\n'}, []byte{'.'}), "\r\n\r\n"...)
			}
			p.WriteRaw(noise) // it may be closed in the middle
			p.Conn().(*net.TCPConn).CloseWrite()
			if _, err := io.Copy(io.Discard, p.Conn()); isTimeout(err) {
				t.Errorf("noise %d: the connection stays", i)
			}
			p.Drop()
		}
		stop()
	})
}

// TestReasonOfMalformedMessages: the Close frame says what to do about broadcasts
// of realtime-js, and nothing about other messages, as in Phoenix.
func TestReasonOfMalformedMessages(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{}, room())
		for frame, want := range map[string]string{
			string(masked(true, ws.OpBinary, "\x03\x01\x01\x06\x01\x00\x0111room:1x{}")): `binary broadcasts of Supabase need an instance of type "realtime", or vsn: "1.0.0" in realtime-js`,
			string(masked(true, ws.OpText, "nonsense")):                                  "",
		} {
			p := s.dial(t)
			p.WriteRaw([]byte(frame))
			_, _, err := p.ReadMessage()
			var closed *wstest.CloseError
			if !errors.As(err, &closed) || closed.Code != 1011 || closed.Reason != want {
				t.Errorf("%v, want 1011 %q", err, want)
			}
			p.Drop()
		}
	})
}

// After a protocol error nothing more is read, however much the client sends:
// over epoll, portable, and TLS.
func TestProtocolErrorEndsReading(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		serverSide, clientSide := selfSigned(t)
		o.TLS = serverSide
		for name, dial := range map[string]func(t *testing.T, s *server) *peer{
			"plain":   func(t *testing.T, s *server) *peer { return s.dial(t) },
			"TLS":     func(t *testing.T, s *server) *peer { return dialTLS(t, s.addr, clientSide) },
			"message": func(t *testing.T, s *server) *peer { return s.dial(t) },
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := serve(t, o, channels.SocketOptions{}, room())
				p := dial(t, s)
				wrong, code := []byte{0xff, 0xff}, uint16(1002)
				if name == "message" {
					wrong, code = frames("{"), 1011
				}
				if err := p.WriteRaw(wrong); err != nil {
					t.Fatal(err)
				}
				flooded := make(chan struct{})
				go func() {
					defer close(flooded)
					for block := make([]byte, 64<<10); p.WriteRaw(block) == nil; {
					}
				}()
				_, _, err := p.ReadMessage()
				var closed *wstest.CloseError
				if !errors.As(err, &closed) || closed.Code != code {
					t.Errorf("%s: %v, want a Close frame with %d", name, err, code)
				}
				waitFor(t, "the connection to be gone", func() bool { return s.Stats().Network.Connections == 0 })
				<-flooded
				if n := s.Stats().Network.BytesIn; n > 1<<20 {
					t.Errorf("%s: %d bytes were read", name, n)
				}
			})
		}
	})
}
