package channels_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

func TestConnectionLimits(t *testing.T) {
	for name, limits := range map[string]channels.Limits{
		"in all": {MaxConnections: 3}, "of an address": {MaxConnectionsPerAddress: 3},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, o channels.Options) {
				o.Limits, o.Handler = limits, mirror
				s := serve(t, o, channels.SocketOptions{}, room())
				first, second := s.dial(t), s.dial(t)
				first.join("room:1", "{}")
				web := s.raw(t) // one of net/http's counts too, while it has a request
				web.write("POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
				if _, err := web.Conn().Read(make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
				refused := func() bool {
					c, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0", nil)
					if err == nil {
						c.Drop()
					}
					return err != nil
				}
				for range 2 {
					if !refused() {
						t.Error("a fourth connection")
					}
				}
				if n := s.Stats().Refused; n != 2 {
					t.Errorf("%d refused, want 2", n)
				}
				for _, leaver := range []*peer{second, web} { // each place that is given back is taken
					leaver.Drop()
					waitFor(t, "a place", func() bool { return !refused() })
				}
				// Refused handshakes and failed requests give theirs back.
				for range 10 {
					p := s.raw(t)
					if p.WriteRaw([]byte("GET /socket/websocket HTTP/1.1\r\nHost: x\r\n\r\n")) == nil {
						p.closeCode()
					}
					p.Drop()
				}
				waitFor(t, "a place after failures", func() bool { return !refused() })
			})
		})
	}
}

func TestHandshakeRate(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Limits.HandshakesPerSecond = 2 // twenty in nine seconds are too many
		s := serve(t, o, channels.SocketOptions{}, room())
		admitted, busy := 0, 0
		for range 20 {
			c, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0", nil)
			var status *wstest.StatusError
			switch {
			case err == nil:
				admitted++
				c.Drop()
			case errors.As(err, &status) && status.Status == 503 && status.Header.Get("Retry-After") != "":
				busy++
			default:
				t.Fatal(err)
			}
		}
		if admitted < 2 || busy == 0 || s.Stats().Refused != int64(busy) {
			t.Errorf("%d admitted, %d busy, %d counted", admitted, busy, s.Stats().Refused)
		}
		waitFor(t, "the rate to allow one more", func() bool {
			c, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0", nil)
			if err == nil {
				c.Drop()
			}
			return err == nil
		})
	})
}

func TestSocketRates(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Limits.JoinsPerSecond, o.Limits.MessagesPerSecond = 3, 5
		s := serve(t, o, channels.SocketOptions{}, room())
		p, other := s.dial(t), s.dial(t)
		var texts []string
		for i := range 10 {
			texts = append(texts, fmt.Sprintf(`["j%d","j%d","room:%d","phx_join",{}]`, i, i, i))
		}
		p.write(string(frames(texts...)))
		counts := map[string]int{}
		for range 10 {
			m := p.await("phx_reply")
			counts[m.status+string(m.response)]++
			if m.joinRef != m.ref {
				t.Errorf("join_ref %q of ref %q", m.joinRef, m.ref)
			}
		}
		if n := counts[`error{"reason":"too many joins"}`]; n < 4 || n > 7 {
			t.Errorf("joins: %v", counts)
		}
		ref := other.join("room:0", "{}")
		texts = nil
		for i := range 20 {
			texts = append(texts, fmt.Sprintf(`[%q,"m%d","room:0","echo",{}]`, ref, i), fmt.Sprintf(`[null,"h%d","phoenix","heartbeat",{}]`, i))
		}
		other.write(string(frames(texts...)))
		counts = map[string]int{}
		for range 40 {
			m := other.await("phx_reply")
			counts[m.topic+m.status+string(m.response)]++
		}
		if n := counts[`room:0error{"reason":"too many messages"}`]; n < 10 || n > 15 || counts[`phoenixok{}`] != 20 {
			t.Errorf("messages: %v", counts)
		}
		if s.Stats().RateLimited < 14 {
			t.Errorf("%d counted", s.Stats().RateLimited)
		}
		other.push(ref, "room:0", "phx_leave", "{}") // never too many
		other.await("phx_close")
	})
}

func TestMessageBytes(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Limits.MaxMessage = 1000
		s := serve(t, o, channels.SocketOptions{}, room())
		s.Socket("/large", channels.SocketOptions{MaxMessage: 2000}, room())
		stop := chat(t, s)
		of := func(n int) string {
			head, tail := `[null,"1","phoenix","heartbeat",{"x":"`, `"}]`
			return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
		}
		for path, limit := range map[string]int{"/socket": 1000, "/large": 2000} {
			dial := func() *peer { return s.dialTarget(t, path+"/websocket?vsn=2.0.0", nil) }
			p := dial()
			p.write(string(frames(of(limit))))
			if m := p.await("phx_reply"); m.status != "ok" {
				t.Errorf("%s at the limit: %v", path, m)
			}
			p.write(string(frames(of(limit + 1))))
			if code := p.closeCode(); code != 1009 {
				t.Errorf("%s above the limit: closed with %d", path, code)
			}
			p = dial() // the sum of the fragments counts
			text := of(limit + 1)
			p.write(string(masked(false, ws.OpText, text[:limit/2])) + string(masked(true, ws.OpContinuation, text[limit/2:])))
			if code := p.closeCode(); code != 1009 {
				t.Errorf("%s fragments above the limit: closed with %d", path, code)
			}
		}
		stop()
	})
}

// TestLongTopics: topics and refs, which are kept as long as the channel, have a bound
// far below that of a message.
func TestLongTopics(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{}, room())
		p := s.dial(t)
		p.join("room:"+strings.Repeat("x", 4000), "{}")
		ref, reply, err := p.tryJoin("room:"+strings.Repeat("x", 5000), "{}")
		if err != nil || reply.status != "error" || string(reply.response) != `{"reason":"topic too long"}` || reply.joinRef != ref {
			t.Errorf("a long topic: %v, %v", reply, err)
		}
		p.write(string(masked(true, ws.OpText, `["`+strings.Repeat("1", 5000)+`","7","room:1","phx_join",{}]`)))
		if m := p.await("phx_reply"); m.ref != "7" || string(m.response) != `{"reason":"topic too long"}` {
			t.Errorf("a long join_ref: %v", m)
		}
		if n := s.Stats().Channels; n != 1 {
			t.Errorf("%d channels", n)
		}
	})
}

func TestChannelsPerSocket(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{}, room())
		p := s.dial(t)
		refs := make([]string, 100)
		for i := range refs {
			refs[i] = p.join(fmt.Sprintf("room:%d", i), "{}")
		}
		if n := s.Stats().Channels; n != 100 {
			t.Errorf("%d channels", n)
		}
		ref, reply, err := p.tryJoin("room:100", "{}")
		if err != nil || reply.status != "error" || string(reply.response) != `{"reason":"too many channels joined"}` || reply.joinRef != ref {
			t.Errorf("the 101st: %v, %v", reply, err)
		}
		for i, ref := range refs { // the table is searched by a map above eight
			p.assertReply(ref, fmt.Sprintf("room:%d", i), "echo", `[1]`, "ok", `[1]`)
		}
		again := p.join("room:50", "{}") // a held topic may be joined again
		if m := p.await("phx_close"); m.joinRef != refs[50] || m.ref != refs[50] {
			t.Errorf("close of the replaced channel: %v", m)
		}
		p.push(again, "room:50", "phx_leave", "{}")
		p.await("phx_close")
		p.join("room:100", "{}")
		s.dial(t).join("room:1", "{}") // it is a limit of each socket
	})
}
