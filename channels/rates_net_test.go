package channels_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
)

// flood sends n messages of an event at once and counts the answers by their
// kind.
func (p *peer) flood(n int, joinRef, topic, event, payload string) map[string]int {
	p.t.Helper()
	var texts []string
	for i := range n {
		texts = append(texts, p.text(joinRef, fmt.Sprintf("f%d", i), topic, event, payload))
	}
	p.write(string(frames(texts...)))
	counts := map[string]int{}
	for range n {
		m := p.await("phx_reply")
		if m.status == "ok" {
			counts["ok"]++
		} else {
			counts[string(m.response)]++
		}
	}
	return counts
}

func TestBytesRate(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		o.Limits.BytesPerSecond = 1000
		s := serve(t, o, channels.SocketOptions{}, room())
		p, other := s.dial(t), s.dial(t)
		ref, otherRef := p.join("room:1", "{}"), other.join("room:1", "{}")
		payload := `"` + strings.Repeat("x", 298) + `"`
		const refused = `{"reason":"too many bytes"}`
		if got := p.flood(12, ref, "room:1", "echo", payload); got["ok"] < 3 || got[refused] < 4 || got["ok"]+got[refused] != 12 {
			t.Errorf("300 bytes each: %v", got)
		}
		large := `"` + strings.Repeat("x", 1000) + `"`
		if got := other.flood(1, otherRef, "room:1", "echo", large); got[refused] != 1 {
			t.Errorf("more than a second's worth: %v", got)
		}
		if got := other.flood(1, otherRef, strings.Repeat("x", 1000), "echo", "{}"); got[refused] != 1 {
			t.Errorf("a topic of more than a second's worth: %v", got)
		}
		if got := other.flood(1, otherRef, "room:1", "echo", payload); got["ok"] != 1 {
			t.Errorf("another socket, of which nothing was taken: %v", got)
		}
	})
}

// TestTotalRates: the total rates bound all sockets of one guest together, and
// not those of another guest of the same host.
func TestTotalRates(t *testing.T) {
	for _, c := range []struct {
		name, event, payload, reason string
		limits                       channels.Limits
	}{
		{"joins", "phx_join", "{}", "too many joins", channels.Limits{TotalJoinsPerSecond: 5}},
		{"messages", "echo", "{}", "too many messages", channels.Limits{TotalMessagesPerSecond: 5}},
		{"bytes", "echo", `"` + strings.Repeat("x", 98) + `"`, "too many bytes", channels.Limits{TotalBytesPerSecond: 500}},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, o channels.Options) {
				const n = 30
				h := openInn(t, o)
				flooded := h.invite(t, "flooded", channels.Options{Limits: c.limits}, channels.SocketOptions{}, room())
				h.invite(t, "quiet", channels.Options{}, channels.SocketOptions{}, room())
				first := h.dialTarget(t, "/socket/flooded/websocket?vsn=2.0.0", nil)
				second := h.dialTarget(t, "/socket/flooded/websocket?vsn=2.0.0", nil)
				total, refs := map[string]int{}, []string{first.join("room:1", "{}"), second.join("room:1", "{}")}
				for i, p := range []*peer{first, second} {
					for answer, count := range p.flood(n, refs[i], "room:1", c.event, c.payload) {
						total[answer] += count
					}
				}
				refused := total[fmt.Sprintf(`{"reason":%q}`, c.reason)]
				if refused < n || total["ok"] < 3 || total["ok"]+refused != 2*n {
					t.Errorf("of two sockets: %v", total)
				}
				if counted := flooded.Stats().RateLimited; counted != int64(refused) {
					t.Errorf("%d counted, %d refused", counted, refused)
				}
				quiet := h.dialTarget(t, "/socket/quiet/websocket?vsn=2.0.0", nil)
				ref := quiet.join("room:1", "{}")
				if got := quiet.flood(n, ref, "room:1", "echo", c.payload); got["ok"] != n {
					t.Errorf("in the other guest: %v", got)
				}
			})
		})
	}
}
