package history_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/history"
)

// TestErasedEverywhere: what one node erases the others do too.
func TestErasedEverywhere(t *testing.T) {
	c := newClock()
	a, b := newNode(t, c, 1, history.Rule{}), newNode(t, c, 2, history.Rule{})
	first := record(a.sp, "x", "m0")
	c.advance(time.Second)
	fill(a.sp, "x", 1, 2)
	c.advance(time.Second)
	fill(a.sp, "x", 2, 4)
	fill(a.sp, "y", 0, 1)
	carry(t, a, b, a.entries...)
	for i, want := range []string{"m1 m2 m3", "m2 m3", ""} {
		var err error
		switch i {
		case 0:
			_, err = a.sp.Erase("x", first.ID())
		case 1:
			_, err = a.sp.TrimBefore("x", c.now())
		case 2:
			_, err = a.sp.Delete("x")
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := b.ApplyState(1, a.erased[i]); err != nil {
			t.Fatal(err)
		}
		wantPage(t, b.sp.Page("x", history.Ask{}), want, "")
	}
	wantPage(t, b.sp.Page("y", history.Ask{}), "m0", "")
	for _, wrong := range []string{"", "\x01", "\x01\x05", "\x01\x00", "\x01\x00\x00", "\x01\x00\x00" + string(a.erased[0][3:20]), "\x02\x01", "\x03", "\x0312345678\x01"} {
		if b.ApplyState(1, []byte(wrong)) == nil {
			t.Errorf("%q was taken", wrong)
		}
	}
}

// TestErasedForGood: what was erased does not come back from a node that was cut off or
// started again, and what was said later stays.
func TestErasedForGood(t *testing.T) {
	c := newClock()
	rule := history.Rule{Age: time.Minute}
	a, b, away := newNode(t, c, 1, rule), newNode(t, c, 2, rule), newNode(t, c, 3, rule)
	fill(a.sp, "x", 0, 3)
	fill(b.sp, "x", 10, 12)
	carry(t, a, b, a.entries...)
	carry(t, a, away, a.entries...)
	carry(t, b, a, b.entries[0]) // the second is on its way
	a.sp.Delete("x")
	fill(a.sp, "x", 3, 4)
	if err := b.ApplyState(1, a.erased[0]); err != nil {
		t.Fatal(err)
	}
	carry(t, a, b, a.entries[3])
	carry(t, b, a, b.entries[1])
	for _, n := range []*node{a, b} {
		wantPage(t, n.sp.Page("x", history.Ask{Without: 99}), map[*node]string{a: "m3 m11", b: "m11 m3"}[n], "")
	}
	a.Up(b.Log())
	// The third node has missed it all, and comes back.
	late := newNode(t, c, 4, rule)
	for _, n := range []*node{away, late} {
		if err := n.Restore(1, slices.Values(a.snapshot(20))); err != nil {
			t.Fatal(err)
		}
		carry(t, b, n, b.entries...) // m10 was erased, and comes late
		wantPage(t, n.sp.Page("x", history.Ask{}), "m3 m11", "")
	}
	if got := strings.Join(late.got, " "); got != "m11" {
		t.Errorf("clients were sent %s", got)
	}
	// A saved history has what was erased meanwhile.
	file := filepath.Join(t.TempDir(), "history")
	if err := away.Save(file); err != nil {
		t.Fatal(err)
	}
	a.sp.Erase("x", history.ID{Log: 2, Number: 2})
	again := newNode(t, c, 5, rule)
	if err := again.Load(file); err != nil {
		t.Fatal(err)
	}
	if err := again.Restore(1, slices.Values(a.snapshot(20))); err != nil {
		t.Fatal(err)
	}
	wantPage(t, again.sp.Page("x", history.Ask{}), "m3", "")
	// Erasures are forgotten when no node can have the messages any longer.
	before := a.Stats().Bytes
	c.advance(12 * time.Minute)
	a.Sweep()
	if s := a.Stats(); s.Bytes != 0 || before == 0 {
		t.Errorf("%d bytes are left of %d", s.Bytes, before)
	}
}

// TestErasureOfTheDead: an erasure that came with the snapshot of a node that is gone, and that its maker, which has
// died, could not send to all, reaches all.
func TestErasureOfTheDead(t *testing.T) {
	for name, one := range map[string]struct{ late, unheard bool }{
		"before its maker is known to be dead": {},
		"after that":                           {late: true},
		"from a maker that was never heard":    {unheard: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			maker, gone, b, d := newNode(t, c, 1, history.Rule{}), newNode(t, c, 2, history.Rule{}), newNode(t, c, 3, history.Rule{}), newNode(t, c, 4, history.Rule{})
			fill(d.sp, "x", 0, 2)
			for _, n := range []*node{maker, gone, b} {
				n.Up(d.Log())
				carry(t, d, n, d.entries...)
				if n != b || !one.unheard {
					n.Up(maker.Log())
				}
			}
			maker.sp.Delete("x")
			if err := gone.ApplyState(maker.Log(), maker.erased[0]); err != nil {
				t.Fatal(err)
			}
			restore := func() {
				if err := b.Restore(gone.Log(), slices.Values(gone.snapshot(1000))); err != nil {
					t.Fatal(err)
				}
			}
			if !one.late {
				restore()
			}
			b.erased = nil
			if !one.unheard {
				b.Down(maker.Log())
			}
			if one.late {
				restore()
			}
			b.Down(gone.Log())
			for _, e := range b.erased {
				if err := d.ApplyState(b.Log(), e); err != nil {
					t.Fatal(err)
				}
			}
			wantPage(t, d.sp.Page("x", history.Ask{}), "", "")
			wantPage(t, b.sp.Page("x", history.Ask{}), "", "")
			if a, b := now(b.sp, "x"), now(d.sp, "x"); !a.Equal(b) {
				t.Errorf("positions %v and %v", a, b)
			}
			sent := len(b.erased)
			restore()
			for _, e := range b.erased[sent:] {
				if e[0] == 1 {
					t.Error("it is sent once more")
				}
			}
		})
	}
}

// everywhere is a history.Durable that brings what it stores to all nodes at once.
type everywhere struct {
	t      *testing.T
	clock  *clock
	nodes  []*node
	number uint64
}

func (e *everywhere) Open() {}

func (e *everywhere) Append(space, topic string, entry []byte, done func(error)) {
	e.number++
	for _, n := range e.nodes {
		if err := n.ApplyStored(space, topic, e.number, e.clock.now(), entry); err != nil {
			e.t.Error(err)
		}
	}
	done(nil)
}

func (e *everywhere) Trim(string, string, uint64) {}

func (e *everywhere) Remove(_, _ string, which func() (uint64, bool)) error {
	which()
	return nil
}

// TestErasuresOfAll: what all nodes have erased is not sent again when a node stops, even if the node that made the
// erasure is unknown: those in the stream name no node, and old nodes are forgotten.
func TestErasuresOfAll(t *testing.T) {
	const maker, other, stopped, stream = 1, 2, 3, 9
	stop := func(t *testing.T, n *node) {
		t.Helper()
		n.erased = nil
		n.Up(stopped)
		n.Down(stopped)
		for _, e := range n.erased {
			if e[0] == 1 {
				t.Errorf("node %d sends an erasure", n.Log())
			}
		}
	}
	t.Run("of durable messages", func(t *testing.T) {
		c := newClock()
		d := &everywhere{t: t, clock: c, nodes: []*node{newNode(t, c, maker), newNode(t, c, other)}}
		for _, n := range d.nodes {
			n.Persist(d)
			n.BindStream(stream)
			n.SetLoaded(0)
			if err := n.sp.SetRules([]history.Rule{{Durable: true}}); err != nil {
				t.Fatal(err)
			}
		}
		a, b := d.nodes[0], d.nodes[1]
		b.Up(a.Log())
		a.sp.Append("x", &history.Message{Event: "msg", Payload: []byte("m")}, func(error) {})
		if n, err := a.sp.Delete("x"); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if err := b.ApplyState(a.Log(), a.erased[len(a.erased)-1]); err != nil {
			t.Fatal(err)
		}
		wantPage(t, b.sp.Page("x", history.Ask{}), "", "")
		stop(t, a)
		stop(t, b)
	})
	t.Run("long ago", func(t *testing.T) {
		c := newClock()
		rule := history.Rule{Age: 48 * time.Hour}
		a, b := newNode(t, c, maker, rule), newNode(t, c, other, rule)
		b.Up(a.Log())
		fill(a.sp, "x", 0, 2)
		a.sp.Erase("x", history.ID{Log: maker, Number: 1})
		carry(t, a, b, a.entries...)
		if err := b.ApplyState(a.Log(), a.erased[0]); err != nil {
			t.Fatal(err)
		}
		b.Gone(a.Log())
		c.advance(25 * time.Hour)
		b.Sweep()
		stop(t, b)
		// Nor by a node that was started since.
		late := newNode(t, c, 4, rule)
		late.Up(b.Log())
		if err := late.Restore(b.Log(), slices.Values(b.snapshot(1000))); err != nil {
			t.Fatal(err)
		}
		stop(t, late)
	})
}

// TestManyErasures: few are kept of a topic, and none that another makes superfluous.
func TestManyErasures(t *testing.T) {
	c := newClock()
	a, b := newNode(t, c, 1, history.Rule{Messages: 2000}), newNode(t, c, 2, history.Rule{Messages: 2000})
	empty := b.Stats().Bytes
	for n := range uint64(1500) {
		a.sp.Erase("x", history.ID{Log: 1, Number: 1500 + n + 1})
		if err := b.ApplyState(1, a.erased[n]); err != nil {
			t.Fatal(err)
		}
	}
	fill(a.sp, "x", 0, 1500)
	carry(t, a, b, a.entries...)
	if got := len(b.sp.Page("x", history.Ask{}).Messages); got != 500 {
		t.Errorf("%d messages are here, of 1,500 that were erased before; 1,000 erasures are kept", got)
	}
	a.sp.TrimBefore("x", c.now().Add(time.Second))
	a.sp.Delete("x")
	a.sp.Delete("x")
	for _, e := range a.erased[1500:] {
		if err := b.ApplyState(1, e); err != nil {
			t.Fatal(err)
		}
	}
	wantPage(t, b.sp.Page("x", history.Ask{}), "", "")
	b.Sweep()
	if got := b.Stats().Bytes - empty; got > 200 {
		t.Errorf("%d bytes are taken by one erasure", got)
	}
}
