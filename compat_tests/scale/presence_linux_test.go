package scale

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/race"
)

// TestScalePresence has two thousand clients in the presence of one topic. All must end
// with the same list, before and after half of them have left, and no diff may be missing
// or repeated.
func TestScalePresence(t *testing.T) {
	n := 2_000
	if race.Enabled || testing.Short() {
		n = 500
	}
	server := startServer(t, settings{})
	before := server.usage()
	f := newFleet(t, server.addr, relayTopic, n)
	list := newPresences(f)

	begun := time.Now()
	f.join(func(i int) string { return fmt.Sprintf(`{"user":"u%d"}`, i) })
	f.until("everybody sees everybody", func() bool { return list.known == n*n })
	joinTime := time.Since(begun)
	f.beat(f.clients) // nothing more arrives
	list.check(f.clients, n)
	diffs := list.diffs
	after := server.usage()
	server.writeHeapProfile()
	heap, resident := perConnection(t, before, after, n, maxPresenceHeap)

	stay, leave := f.clients[:n/2], f.clients[n/2:]
	for _, c := range leave {
		list.known -= n
		c.present = nil
	}
	begun = time.Now()
	f.drop(leave)
	f.until("those who stay see nobody else", func() bool { return list.known == len(stay)*len(stay) })
	leaveTime := time.Since(begun)
	f.beat(stay)
	list.check(stay, len(stay))

	server.terminate()
	f.until("the server has closed all connections", func() bool { return f.closed == n })
	for _, c := range stay {
		if c.closeCode != 1012 { // Service Restart: phoenix.js connects again
			t.Fatalf("client %d was closed with %d, want 1012", c.index, c.closeCode)
		}
	}
	server.awaitExit()
	t.Logf("%d connections in one presence: all see all after %v, by %d diffs each at most; %d gone are told in %v; "+
		"heap %d and RSS %d bytes per connection", n, joinTime.Round(time.Millisecond), diffs,
		len(leave), leaveTime.Round(time.Millisecond), heap, resident)
}

// presences has the lists of the clients of a fleet.
type presences struct {
	fleet  *fleet
	known  int               // users in the lists of all clients together
	diffs  int               // the most diffs that a client got while all joined
	refs   map[string]uint32 // numbers for phx_refs, from 1
	states map[string][]presence
	deltas map[string]delta
	counts []int // diffs, by client
}

// presence is a user in a list.
type presence struct {
	user int
	ref  uint32
}

type delta struct{ joins, leaves []presence }

// wirePresences is a JSON object of presences, as read by assets/js/phoenix/presence.js.
type wirePresences map[string]struct {
	Metas []struct {
		Ref string `json:"phx_ref"`
	} `json:"metas"`
}

// newPresences starts keeping the lists of f's clients.
func newPresences(f *fleet) *presences {
	p := &presences{
		fleet: f, refs: make(map[string]uint32), counts: make([]int, len(f.clients)),
		states: make(map[string][]presence), deltas: make(map[string]delta),
	}
	f.onMessage = p.handle
	return p
}

func (p *presences) handle(c *client, m message) {
	switch {
	case m.event == "presence_state" && c.present == nil && m.joinRef != "" && m.ref == "":
		c.present = make([]uint32, len(p.fleet.clients))
		p.apply(c, delta{joins: p.state(m.payload)})
		p.checkEarly(c)
	case m.event == "presence_diff" && m.joinRef == "" && m.ref == "":
		p.counts[c.index]++
		p.diffs = max(p.diffs, p.counts[c.index])
		d := p.delta(m.payload)
		if c.present == nil {
			c.early = append(c.early, d)
			return
		}
		p.apply(c, d)
	default:
		p.fleet.fail(c, "unexpected: %v", m)
	}
}

// checkEarly checks that a presence_state contains the diffs that came before it, which
// phoenix.js applies after it, without effect (presence.js, pendingDiffs).
func (p *presences) checkEarly(c *client) {
	want := make(map[int]uint32)
	for _, d := range c.early {
		for _, one := range d.joins {
			want[one.user] = one.ref
		}
		for _, one := range d.leaves {
			want[one.user] = 0
		}
	}
	for user, ref := range want {
		if c.present[user] != ref {
			p.fleet.fail(c, "the state does not contain an earlier diff about user %d", user)
		}
	}
	c.early = nil
}

// apply changes a client's list. If a user joins twice, or leaves without having joined, the
// state and the diffs after it do not fit together.
func (p *presences) apply(c *client, d delta) {
	for _, one := range d.joins {
		if c.present[one.user] != 0 {
			p.fleet.fail(c, "user %d joins twice", one.user)
		}
		c.present[one.user] = one.ref
	}
	for _, one := range d.leaves {
		if c.present[one.user] != one.ref {
			p.fleet.fail(c, "user %d leaves with another phx_ref than it had", one.user)
		}
		c.present[one.user] = 0
	}
	p.known += len(d.joins) - len(d.leaves)
}

// state decodes a presence_state, once for all clients that get it.
func (p *presences) state(payload []byte) []presence {
	list, ok := p.states[string(payload)]
	if !ok {
		var users wirePresences
		p.unmarshal(payload, &users)
		list = p.list(users)
		p.states[string(payload)] = list
	}
	return list
}

func (p *presences) delta(payload []byte) delta {
	d, ok := p.deltas[string(payload)]
	if !ok {
		var users struct{ Joins, Leaves wirePresences }
		p.unmarshal(payload, &users)
		d = delta{p.list(users.Joins), p.list(users.Leaves)}
		p.deltas[string(payload)] = d
	}
	return d
}

func (p *presences) unmarshal(payload []byte, v any) {
	if err := json.Unmarshal(payload, v); err != nil {
		p.fleet.t.Fatalf("presences %.200s: %v", payload, err)
	}
}

func (p *presences) list(users wirePresences) []presence {
	list := make([]presence, 0, len(users))
	for key, user := range users {
		var i int
		if _, err := fmt.Sscanf(key, "u%d", &i); err != nil || i >= len(p.fleet.clients) || len(user.Metas) != 1 {
			p.fleet.t.Fatalf("presence of %q with %d metas", key, len(user.Metas))
		}
		ref := user.Metas[0].Ref
		if p.refs[ref] == 0 {
			p.refs[ref] = uint32(1 + len(p.refs))
		}
		list = append(list, presence{i, p.refs[ref]})
	}
	return list
}

// check checks that the clients have the same lists: users 0 to n-1 with the same phx_refs.
func (p *presences) check(clients []*client, n int) {
	p.fleet.t.Helper()
	for _, c := range clients {
		if !slices.Equal(c.present, clients[0].present) {
			p.fleet.t.Fatalf("clients %d and %d see different presences", c.index, clients[0].index)
		}
	}
	for user, ref := range clients[0].present {
		if (ref != 0) != (user < n) {
			p.fleet.t.Fatalf("user %d of those below %d: phx_ref %d", user, n, ref)
		}
	}
}
