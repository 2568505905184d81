package channels_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// TestHeldUp: a client that sends too much of what the socket itself answers gets all the
// answers, but is not read for a while. Other clients are read, and no socket is closed.
func TestHeldUp(t *testing.T) {
	t.Parallel()
	const rate, n = 25, 26
	for _, c := range []struct {
		name  string
		flood func(p *peer)
	}{
		{"heartbeats", func(p *peer) {
			var texts []string
			for i := range n {
				texts = append(texts, fmt.Sprintf(`[null,"h%d","phoenix","heartbeat",{}]`, i))
			}
			p.write(string(frames(texts...)))
			for range n {
				p.await("phx_reply")
			}
		}},
		{"pings", func(p *peer) {
			var pings []byte
			for range n {
				pings = append(pings, ws.MustCompileFrame(ws.MaskFrame(ws.NewPingFrame([]byte("x"))))...)
			}
			p.write(string(pings))
		}},
		{"pongs that nobody asked for", func(p *peer) {
			p.write(strings.Repeat(string(ws.MustCompileFrame(ws.MaskFrame(ws.NewPongFrame(nil)))), n))
		}},
		{"leaves of what was not joined", func(p *peer) {
			var texts []string
			for i := range n {
				texts = append(texts, fmt.Sprintf(`["1","l%d","room:none","phx_leave",{}]`, i))
			}
			p.write(string(frames(texts...)))
		}},
		{"messages above their rate", func(p *peer) {
			ref := p.join("room:1", "{}")
			p.flood(3*n, ref, "room:1", "echo", "{}")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bothSlow(t, func(t *testing.T, o channels.Options) {
				o.Limits.HeartbeatsPerSecond, o.Limits.MessagesPerSecond = rate, 30
				s := serve(t, o, channels.SocketOptions{}, room())
				p, other := s.dial(t), s.dial(t)
				other.join("room:1", "{}")
				begun := time.Now()
				c.flood(p)
				waitFor(t, "the socket to be held up", func() bool { return s.Stats().HeldUp > 0 })
				otherRef := other.push("", "phoenix", "heartbeat", "{}")
				if m := other.await("phx_reply"); m.ref != otherRef {
					t.Errorf("another socket was answered %v", m)
				}
				if n := s.Stats().HeldUp; n != 1 {
					t.Errorf("held up %d times", n)
				}
				if c.name != "heartbeats" {
					return // once is enough to see that it goes on
				}
				p.push("", "phoenix", "heartbeat", "{}")
				p.await("phx_reply")
				if took := time.Since(begun); took < time.Second {
					t.Errorf("it was read again after %v", took)
				}
			})
		})
	}
}

// TestHeldUpCloses: a socket that is held up ends like any other.
func TestHeldUpCloses(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Limits.HeartbeatsPerSecond = 1
		s := serve(t, o, channels.SocketOptions{Connect: named}, room())
		p := s.dialTarget(t, "/socket/websocket?vsn=2.0.0", nil)
		p.write(string(frames(`[null,"1","phoenix","heartbeat",{}]`, `[null,"2","phoenix","heartbeat",{}]`, `[null,"3","phoenix","heartbeat",{}]`)))
		waitFor(t, "the socket to be held up", func() bool { return s.Stats().HeldUp > 0 })
		s.Disconnect("user:1")
		if code := p.closeCode(); code != 1001 {
			t.Errorf("closed with %d", code)
		}
		waitFor(t, "the socket to be gone", func() bool { return s.Stats().Sockets == 0 })
	})
}

// TestHeldUpPolls: the POSTs of a long-poll session that is held up wait.
func TestHeldUpPolls(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		o.Limits.HeartbeatsPerSecond = 25
		s := serve(t, o, channels.SocketOptions{LongPoll: longPolling}, room())
		c := s.polls(t)
		begun := time.Now()
		var messages []string
		for i := range 30 {
			messages = append(messages, fmt.Sprintf(`[null,"h%d","phoenix","heartbeat",{}]`, i))
		}
		header := http.Header{"Content-Type": {"application/x-ndjson"}}
		for i, body := range []string{strings.Join(messages, "\n"), messages[0]} {
			if a, err := c.request(t.Context(), http.MethodPost, body, header); err != nil || a.Status != http.StatusOK {
				t.Fatal(i, a, err)
			}
		}
		if took := time.Since(begun); took < time.Second || s.Stats().HeldUp != 1 {
			t.Errorf("the second POST was answered after %v; held up %d times", took, s.Stats().HeldUp)
		}
	})
}

// TestEndlessMessage: a client that sends a message in endless empty fragments is not
// read for a while, and neither is one whose bytes exceed the rate, whatever they are.
func TestEndlessMessage(t *testing.T) {
	frame := func(op ws.OpCode, fin bool, payload string) string {
		return string(ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(op, fin, []byte(payload)))))
	}
	slow := channels.Limits{MessagesPerSecond: 5, BytesPerSecond: 10 << 10}
	for name, c := range map[string]struct {
		limits channels.Limits
		stream string
	}{
		"empty fragments":                 {slow, frame(ws.OpText, false, "[") + strings.Repeat(frame(ws.OpContinuation, false, ""), 2000)},
		"empty fragments, heartbeats too": {channels.Limits{HeartbeatsPerSecond: 20}, frame(ws.OpText, false, "[") + strings.Repeat(frame(ws.OpContinuation, false, ""), 2000)},
		"large fragments":                 {channels.Limits{BytesPerSecond: 10 << 10}, frame(ws.OpText, false, "[") + strings.Repeat(frame(ws.OpContinuation, false, strings.Repeat(" ", 4096)), 100)},
		"pings":                           {slow, strings.Repeat(frame(ws.OpPing, true, "x"), 2000)},
		"pongs with payloads":             {channels.Limits{BytesPerSecond: 10 << 10}, strings.Repeat(frame(ws.OpPong, true, strings.Repeat("x", 125)), 2000)},
		"messages that are refused":       {channels.Limits{BytesPerSecond: 10 << 10}, strings.Repeat(frame(ws.OpText, true, `["1","2","room:1","x","`+strings.Repeat("x", 20<<10)+`"]`), 20)},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, o channels.Options) {
				o.Limits = c.limits
				s := serve(t, o, channels.SocketOptions{}, room())
				p := s.dial(t)
				p.join("room:1", "{}")
				go p.WriteRaw([]byte(c.stream)) // it is not read to its end
				waitFor(t, "the socket to be held up", func() bool { return s.Stats().HeldUp > 0 })
				if n := s.Stats().Sockets; n != 1 {
					t.Errorf("%d sockets are left: it is not to be closed", n)
				}
			})
		})
	}
}

// Messages that inflate far hold the loop up one at a time, however many of them
// were read at once.
func TestBombsReadAtOnce(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		o.Loops, o.Limits.HeartbeatsPerSecond = 1, 1000
		s := serve(t, o, compressing, room())
		p := s.dialTarget(t, "/socket/websocket?vsn=2.0.0", offering(deflateName))
		ref := p.join("room:1", "{}")
		payload := fmt.Sprintf(`{"body":%q}`, strings.Repeat("0", 900_000))
		bomb, err := wstest.AppendCompressed(nil, ws.OpText, []byte(p.text(ref, "100", "room:1", "echo", payload)))
		if err != nil {
			t.Fatal(err)
		}
		before, begun := s.Stats().MessagesIn, time.Now()
		p.write(strings.Repeat(string(bomb), 40))
		waitFor(t, "the socket to be held up", func() bool { return s.Stats().HeldUp > 0 })
		time.Sleep(200 * time.Millisecond) // what is not held up comes at once
		n, took := s.Stats().MessagesIn-before, time.Since(begun).Seconds()
		if most := 20 + 20*took; float64(n) > most { // the rate allows about 18 a second
			t.Errorf("%d messages of 900 kB were handled in %.1f s, want at most %.0f", n, took, most)
		}
		if m := p.await("phx_reply"); m.status != "ok" {
			t.Errorf("the first: %v", m)
		}
	})
}
