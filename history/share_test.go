package history_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/history"
)

// node is a store whose entries a test carries to others.
type node struct {
	*history.Store
	*listener
	sp      *history.Space
	entries [][]byte
	erased  [][]byte // entries of its state
	busy    error
	publish func() // called by publish, unless it is nil
}

func newNode(t testing.TB, c *clock, log history.LogID, rules ...history.Rule) *node {
	t.Helper()
	return newNodeAfter(t, c, log, nil, rules...)
}

// newNodeAfter is newNode with timers of the test's own.
func newNodeAfter(t testing.TB, c *clock, log history.LogID, after func(time.Duration, func()) func(), rules ...history.Rule) *node {
	t.Helper()
	return newNodeOf(t, history.Options{Log: log, Now: c.now, AfterFunc: after}, rules...)
}

func newNodeOf(t testing.TB, o history.Options, rules ...history.Rule) *node {
	t.Helper()
	n := &node{Store: history.NewStore(o), listener: new(listener)}
	t.Cleanup(n.Close)
	n.Share(func(parts ...[]byte) error {
		if n.busy != nil {
			return n.busy
		}
		n.entries = append(n.entries, bytes.Join(parts, nil))
		if n.publish != nil {
			n.publish()
		}
		return nil
	}, func(entry []byte) { n.erased = append(n.erased, bytes.Clone(entry)) })
	n.sp = n.Open("")
	if err := n.sp.Share(); err != nil {
		t.Fatal(err)
	}
	if err := n.sp.SetRules(rules); err != nil {
		t.Fatal(err)
	}
	n.sp.Attach(n.listener)
	return n
}

// carry applies the entries from number from on of one node at another.
func carry(t testing.TB, from, to *node, entries ...[]byte) {
	t.Helper()
	for _, e := range entries {
		if err := to.Apply(from.Log(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// snapshot returns what a node sends to one that starts, in small parts.
func (n *node) snapshot(size int) (parts [][]byte) {
	n.Snapshot(size, func(part []byte) { parts = append(parts, slices.Clone(part)) })
	return parts
}

// TestShared: what one node records the others have too, each message once, and positions
// of either node are valid on both.
func TestShared(t *testing.T) {
	c := newClock()
	a, b := newNode(t, c, 1, history.Rule{Messages: 5}), newNode(t, c, 2, history.Rule{Messages: 5})
	a.Up(b.Log())
	b.Up(a.Log())
	start := now(a.sp, "x")
	fill(a.sp, "x", 0, 3)
	carry(t, a, b, a.entries...)
	atB := now(b.sp, "x")
	fill(b.sp, "x", 10, 12)
	carry(t, b, a, b.entries...)
	carry(t, b, a, b.entries...) // again: nothing happens
	for _, n := range []*node{a, b} {
		wantPage(t, n.sp.Since("x", start, 0), "m0 m1 m2 m10 m11", "")
		wantPage(t, n.sp.Since("x", atB, 0), "m10 m11", "")
		wantPage(t, n.sp.Since("x", now(a.sp, "x"), 0), "", "")
	}
	if got := strings.Join(a.got, " ") + "|" + strings.Join(b.got, " "); got != "m10 m11|m0 m1 m2" {
		t.Errorf("received %s", got)
	}
	// A client of a comes to b, which has not heard of its last message yet.
	fill(a.sp, "x", 3, 4)
	ahead := now(a.sp, "x")
	if p := b.sp.Since("x", ahead, 0); !p.Wait || p.Missing != history.Unknown {
		t.Errorf("a client that is ahead: %+v", p)
	}
	carry(t, a, b, a.entries[3])
	wantPage(t, b.sp.Since("x", ahead, 0), "", "")
	wantPage(t, b.sp.Since("x", start, 0), "m1 m2 m10 m11 m3", history.Expired)
}

// TestMarkOfShared: a mark that follows a message of another node includes it.
func TestMarkOfShared(t *testing.T) {
	c := newClock()
	a, b := newNode(t, c, 1, history.Rule{}), newNode(t, c, 2, history.Rule{})
	marked := ""
	b.mark = func(topic string, p history.Position) { marked = p.String() }
	b.sp.Follow(1)
	for i := range 3 {
		fill(a.sp, "x", i, i+1)
		c.advance(history.MarkEvery)
		carry(t, a, b, a.entries[i])
		p, err := history.ParsePosition(marked)
		if err != nil {
			t.Fatal(err)
		}
		wantPage(t, b.sp.Since("x", p, 0), "", "")
	}
}

// TestTailsThatCross: two nodes send what a third lacks of a dead node's log, and the end comes before the beginning.
func TestTailsThatCross(t *testing.T) {
	c := newClock()
	dead, b, d, late := newNode(t, c, 1, history.Rule{}), newNode(t, c, 2, history.Rule{}), newNode(t, c, 3, history.Rule{}), newNode(t, c, 4, history.Rule{})
	fill(dead.sp, "x", 0, 3)
	carry(t, dead, b, dead.entries[:2]...)
	carry(t, dead, d, dead.entries...)
	b.Down(dead.Log())
	d.Down(dead.Log())
	type way struct{ from, to *node }
	sent := make(map[way]int)
	// deliver delivers the next n entries.
	deliver := func(from, to *node, n int) {
		t.Helper()
		for range n {
			i := sent[way{from, to}]
			sent[way{from, to}]++
			if err := to.ApplyState(from.Log(), from.erased[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	deliver(b, d, 1)    // d learns what b has, and sends the end
	deliver(d, b, 1)    // b learns that d has more
	deliver(b, d, 1)    // and says what it has, so d sends the end again
	deliver(d, late, 3) // which late cannot use yet, and says so
	deliver(late, b, 3) // b sends the beginning
	deliver(d, b, 2)    // b gets the end, and takes late to get it too
	for again := true; again; {
		again = false
		for _, from := range []*node{b, d, late} {
			for _, to := range []*node{b, d, late} {
				if n := len(from.erased) - sent[way{from, to}]; from != to && n > 0 {
					deliver(from, to, n)
					again = true
				}
			}
		}
	}
	for _, n := range []*node{b, d, late} {
		wantPage(t, n.sp.Page("x", history.Ask{}), "m0 m1 m2", "")
	}
}

// TestRestoreShortOfMemory: what was restored of one topic is dropped before another is restored. What that counts as
// dropped too clients are not sent, and so they are told.
func TestRestoreShortOfMemory(t *testing.T) {
	c := newClock()
	a := newNode(t, c, 1, history.Rule{})
	fill(a.sp, "z", 0, 1)
	fill(a.sp, "a", 1, 2)
	var b *node
	inside := true
	pause := func() {
		if inside {
			return
		}
		inside = true
		if len(b.sp.Last("a", 1)) > 0 && len(b.sp.Last("b", 1)) == 0 {
			c.advance(time.Second)
			record(b.sp, "b", strings.Repeat("b", 1000))
			record(b.sp, "z", "m2")
		}
		inside = false
	}
	b = newNodeOf(t, history.Options{Log: 2, Now: c.now, Memory: 1400, Pause: pause}, history.Rule{})
	inside = false
	if err := b.Restore(a.Log(), slices.Values(a.snapshot(1000))); err != nil {
		t.Fatal(err)
	}
	inside = true
	wantPage(t, b.sp.Page("z", history.Ask{}), "m2", "")
	if got := fmt.Sprint(b.lost); !strings.Contains(got, "z") {
		t.Errorf("clients are told of %s, want z too", got)
	}
}

// TestBusy: a message that cannot be sent to other nodes has no number and no place.
func TestBusy(t *testing.T) {
	c := newClock()
	a, b := newNode(t, c, 1, history.Rule{}), newNode(t, c, 2, history.Rule{})
	a.busy = os.ErrDeadlineExceeded
	delivered := ""
	err := a.sp.Record("x", &history.Message{Event: "msg", Payload: []byte("lost")}, func(recorded bool) { delivered = fmt.Sprint(recorded) })
	if err != os.ErrDeadlineExceeded || delivered != "false" {
		t.Errorf("%v, recorded %s", err, delivered)
	}
	a.busy = nil
	fill(a.sp, "x", 0, 2)
	carry(t, a, b, a.entries...)
	wantPage(t, b.sp.Page("x", history.Ask{}), "m0 m1", "")
}

// TestSnapshotDuringPublish: a snapshot that is made while a message is being published has it: the node that gets
// the snapshot passes over its entry.
func TestSnapshotDuringPublish(t *testing.T) {
	a, b := newNode(t, newClock(), 1, history.Rule{}), newNode(t, newClock(), 2, history.Rule{})
	made := make(chan [][]byte)
	a.publish = func() {
		go func() { made <- a.snapshot(1000) }()
		time.Sleep(20 * time.Millisecond) // it has begun
	}
	fill(a.sp, "x", 0, 1)
	if err := b.Restore(1, slices.Values(<-made)); err != nil {
		t.Fatal(err)
	}
	wantPage(t, b.sp.Page("x", history.Ask{}), "m0", "")
}

// TestSnapshot: a node that starts gets the messages of the others, including those of one
// that has died, in the order of their times; one that has lost entries gets them later.
func TestSnapshot(t *testing.T) {
	for _, size := range []int{7, 100, 10_000} {
		c := newClock()
		rule := history.Rule{Messages: 6}
		a, dead := newNode(t, c, 1, rule), newNode(t, c, 2, rule)
		start := now(a.sp, "x")
		for i := range 3 {
			fill(a.sp, "x", i, i+1)
			c.advance(time.Second)
			fill(dead.sp, "x", 10+i, 11+i)
			c.advance(time.Second)
		}
		carry(t, dead, a, dead.entries[:2]...) // the third never left it
		lost := now(dead.sp, "x")
		a.Gone(dead.Log())
		if p := a.sp.Since("x", lost, 0); p.Wait || p.Missing != history.NodeLost {
			t.Errorf("after a node has died: %+v", p)
		}
		late := newNode(t, c, 3, rule)
		if err := late.Restore(1, slices.Values(a.snapshot(size))); err != nil {
			t.Fatal(err)
		}
		wantPage(t, late.sp.Since("x", start, 0), "m0 m10 m1 m11 m2", "")
		carry(t, a, late, a.entries...)
		if len(late.got) != 0 {
			t.Errorf("clients were sent what came before they did: %v", late.got)
		}
		fill(a.sp, "x", 3, 5) // one entry too many: m0 is dropped
		if err := late.Restore(1, slices.Values(a.snapshot(size))); err != nil {
			t.Fatal(err)
		}
		wantPage(t, late.sp.Since("x", start, 0), "m10 m1 m11 m2 m3 m4", history.Expired)
		if got := strings.Join(late.got, " "); got != "m3 m4" {
			t.Errorf("clients were sent %s of what they had missed", got)
		}
	}
}

// TestSnapshotBeforeRules: what comes before the rules are known is kept until they are.
func TestSnapshotBeforeRules(t *testing.T) {
	c := newClock()
	a := newNode(t, c, 1, history.Rule{})
	fill(a.sp, "room:1", 0, 5)
	fill(a.sp, "lobby", 0, 5)
	late := history.NewStore(history.Options{Now: c.now})
	t.Cleanup(late.Close)
	late.Share(func(...[]byte) error { return nil }, func([]byte) {})
	if err := late.Restore(1, slices.Values(a.snapshot(1000))); err != nil {
		t.Fatal(err)
	}
	sp := space(t, late, history.Rule{Topics: []string{"room:*"}, Messages: 2})
	wantPage(t, sp.Page("room:1", history.Ask{}), "m3 m4", "")
	wantPage(t, sp.Page("lobby", history.Ask{}), "", "")
}

// TestFile: a process that is started again has what the one before had, under its
// positions, once.
func TestFile(t *testing.T) {
	c := newClock()
	file := filepath.Join(t.TempDir(), "history")
	rule := history.Rule{Messages: 3}
	a := newNode(t, c, 1, rule)
	own, err := a.Space("alone", []history.Rule{rule})
	if err != nil {
		t.Fatal(err)
	}
	start, alone := now(a.sp, "x"), now(own, "x")
	fill(a.sp, "x", 0, 2)
	m := history.Message{Event: "raw", Payload: []byte("\x00\xff"), Binary: true, Sender: 7}
	own.Record("x", &m, func(bool) {})
	gap := now(own, "y")
	fill(own, "y", 0, 5)
	if err := os.WriteFile(file+".new", make([]byte, 1<<20), 0o600); err != nil { // of a process that was killed
		t.Fatal(err)
	}
	if err := a.Save(file); err != nil {
		t.Fatal(err)
	}
	if list, err := os.ReadDir(filepath.Dir(file)); err != nil || len(list) != 1 {
		t.Errorf("%d files after saving, %v; want 1", len(list), err)
	}
	b := newNode(t, c, 2, rule)
	sp, err := b.Space("alone", []history.Rule{rule})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Load(file); err != nil {
		t.Fatal(err)
	}
	fill(b.sp, "x", 2, 3)
	wantPage(t, b.sp.Since("x", start, 0), "m0 m1 m2", "")
	wantPage(t, sp.Since("x", alone, 0), "\x00\xff", "")
	wantPage(t, sp.Page("x", history.Ask{Without: 7}), "", "")
	wantPage(t, sp.Since("y", gap, 0), "m2 m3 m4", history.Expired)
	if err := b.Load(file); err != nil {
		t.Errorf("without a file: %v", err)
	}
	for _, text := range []string{"", "mycelium history 1\n", "mycelium history 1\n\x05", "mycelium history 1\n\x02\x05\x09", "something else"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := b.Load(file); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

// TestFileOfOneNode: a space that was saved without a cluster and is shared now stays shared,
// with what was recorded before.
func TestFileOfOneNode(t *testing.T) {
	c := newClock()
	file := filepath.Join(t.TempDir(), "history")
	alone, sp := open(t, history.Options{Now: c.now}, history.Rule{})
	start := now(sp, "x")
	fill(sp, "x", 0, 3)
	if err := alone.Save(file); err != nil {
		t.Fatal(err)
	}
	a, b := newNode(t, c, 1, history.Rule{}), newNode(t, c, 2, history.Rule{})
	if err := a.Load(file); err != nil {
		t.Fatal(err)
	}
	fill(a.sp, "x", 3, 4)
	wantPage(t, a.sp.Since("x", start, 0), "m0 m1 m2 m3", "")
	carry(t, a, b, a.entries...)
	if got := strings.Join(b.got, " "); got != "m3" {
		t.Errorf("another node has received %q, want m3", got)
	}
}

// TestLargeTail: a tail that does not fit into an entry is sent in several.
func TestLargeTail(t *testing.T) {
	const bound = 100 << 10
	defer history.BoundTails(bound)()
	c := newClock()
	rule := history.Rule{Messages: 1000, Bytes: 1 << 20}
	dead, a, b := newNode(t, c, 3, rule), newNode(t, c, 1, rule), newNode(t, c, 2, rule)
	for i := range 300 {
		record(dead.sp, "x", fmt.Sprint(i, strings.Repeat(" ", 1000)))
	}
	carry(t, dead, a, dead.entries...)
	for _, pair := range [][2]*node{{a, dead}, {a, b}, {b, dead}, {b, a}} {
		pair[0].Up(pair[1].Log())
	}
	a.Down(dead.Log())
	b.Down(dead.Log())
	for len(a.erased)+len(b.erased) > 0 {
		for _, pair := range [][2]*node{{a, b}, {b, a}} {
			entries := pair[0].erased
			pair[0].erased = nil
			for _, e := range entries {
				if len(e) > bound {
					t.Errorf("an entry of %d bytes, want at most %d", len(e), bound)
				}
				if err := pair[1].ApplyState(pair[0].Log(), e); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if got := b.sp.Page("x", history.Ask{}).Found; got != 300 || len(b.got) != 300 {
		t.Errorf("the other node has %d messages and has delivered %d, want 300", got, len(b.got))
	}
}

// TestForgottenLogs: positions with logs that ended long ago are too old.
func TestForgottenLogs(t *testing.T) {
	c := newClock()
	a, b := newNode(t, c, 1, history.Rule{Age: time.Minute}), newNode(t, c, 2, history.Rule{})
	before := now(b.sp, "x")
	fill(b.sp, "x", 0, 1)
	carry(t, b, a, b.entries...)
	mentions := now(a.sp, "x")
	a.Gone(b.Log())
	c.advance(25 * time.Hour)
	record(a.sp, "x", "m1") // a position of now
	a.Sweep()
	recent := now(a.sp, "x")
	if len(recent.String()) >= len(mentions.String()) {
		t.Errorf("%s is not shorter than %s", recent, mentions)
	}
	wantPage(t, a.sp.Since("x", recent, 0), "", "")
	wantPage(t, a.sp.Since("x", before, 0), "m1", history.Expired)
}

// FuzzApply: whatever another node sends, this one goes on.
func FuzzApply(f *testing.F) {
	c := newClock()
	a := newNode(f, c, 1, history.Rule{})
	fill(a.sp, "x", 0, 2)
	for _, e := range a.entries {
		f.Add(e, []byte{})
	}
	for _, part := range a.snapshot(10_000) {
		f.Add([]byte{}, part)
	}
	f.Fuzz(func(t *testing.T, entry, part []byte) {
		b := newNode(t, c, 2, history.Rule{})
		b.Apply(1, entry)
		b.ApplyState(1, entry)
		b.Restore(1, slices.Values([][]byte{part}))
		b.sp.Page("x", history.Ask{})
		b.snapshot(50)
	})
}
