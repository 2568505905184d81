package history_test

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/history"
)

// town is some nodes with one clock. Nothing happens until a test lets it.
type town struct {
	t      testing.TB
	clock  *clock
	nodes  []*house
	wire   []func() // messages that have not arrived
	timers []*timer
}

type timer struct {
	at time.Time
	f  func()
}

// house is a node of a town.
type house struct {
	*node
	town *town
	mute bool // its messages are lost
	deaf bool // messages to it are lost
	most int  // the size above which it cannot send a message; 0: none

	handed int // entries that it has appended
}

// Send implements history.SessionLink.
func (h *house) Send(to history.LogID, data []byte) (fits bool) {
	if h.most > 0 && len(data) > h.most {
		return false
	}
	data = bytes.Clone(data)
	if !h.mute {
		h.town.wire = append(h.town.wire, func() {
			other := h.town.nodes[to-1]
			if other.deaf {
				return
			}
			if err := other.Sessions().Receive(h.Log(), data); err != nil && !other.mute {
				h.town.t.Fatal(err)
			}
		})
	}
	return true
}

// Announce implements history.SessionLink.
func (h *house) Announce() {
	stable := h.Sessions().Stable()
	for _, other := range h.town.nodes {
		if other != h && !h.mute {
			h.town.wire = append(h.town.wire, func() {
				if err := other.Sessions().Announced(h.Log(), stable); err != nil {
					h.town.t.Fatal(err)
				}
			})
		}
	}
}

// Append implements history.SessionLink.
func (h *house) Append(entry []byte) {
	entry = bytes.Clone(entry)
	h.handed++
	for _, other := range h.town.nodes {
		if other != h && !h.mute {
			h.town.wire = append(h.town.wire, func() {
				if other.deaf {
					return
				}
				if err := other.Sessions().Apply(h.Log(), entry); err != nil {
					h.town.t.Fatal(err)
				}
			})
		}
	}
}

func newTown(t testing.TB, n int) *town {
	w := &town{t: t, clock: newClock()}
	for i := range n {
		one := newNodeAfter(t, w.clock, history.LogID(i+1), w.after, history.Rule{Messages: 1000})
		h := &house{node: one, town: w}
		one.Sessions().Share(h)
		w.nodes = append(w.nodes, h)
	}
	for _, h := range w.nodes {
		for _, other := range w.nodes {
			if other != h {
				h.Up(other.Log())
				h.Sessions().Up(other.Log())
			}
		}
	}
	return w
}

func (w *town) after(d time.Duration, f func()) func() {
	one := &timer{w.clock.now().Add(d), f}
	w.timers = append(w.timers, one)
	return func() { w.timers = slices.DeleteFunc(w.timers, func(o *timer) bool { return o == one }) }
}

// pass lets time pass, and all messages arrive.
func (w *town) pass(d time.Duration) {
	for end := w.clock.now().Add(d); w.clock.now().Before(end); w.clock.advance(time.Millisecond) {
		for len(w.wire) > 0 {
			f := w.wire[0]
			w.wire = w.wire[1:]
			f()
		}
		for {
			i := slices.IndexFunc(w.timers, func(o *timer) bool { return !o.at.After(w.clock.now()) })
			if i < 0 {
				break
			}
			f := w.timers[i].f
			w.timers = slices.Delete(w.timers, i, i+1)
			f()
		}
	}
}

// say records a message on a node, and carries it to the others.
func (w *town) say(at int, text string) {
	from := w.nodes[at]
	record(from.sp, "x", text)
	for _, other := range w.nodes {
		if other != from {
			carry(w.t, from.node, other.node, from.entries...)
		}
	}
	from.entries = nil
}

// visit is a client at a node that has joined a topic.
type visit struct {
	*history.Session
	*line
	at     *house
	topics []string
}

func (w *town) connect(at int) *visit {
	h := w.nodes[at]
	v := &visit{h.sp.NewSession("ada", "a name of a session"), new(line), h, []string{"x"}}
	h.Sessions().Connect(v.Session, v.line)
	h.Sessions().Join(v.Session, "x", now(h.sp, "x"))
	return v
}

// doze connects at a node for a client that goes elsewhere at once: it joins nothing, and
// gives up its session when it is told to.
func (w *town) doze(at int) *dozer {
	h := w.nodes[at]
	d := &dozer{h.sp.NewSession("ada", "a name of a session"), h}
	h.Sessions().Connect(d.Session, d)
	return d
}

// dozer is a connection that nobody uses.
type dozer struct {
	*history.Session
	at *house
}

// GiveUp implements history.SessionConn.
func (d *dozer) GiveUp() { d.at.town.wire = append(d.at.town.wire, d.end) }

func (d *dozer) end() { d.at.Sessions().End(d.Session, nil) }

// acknowledge has the client acknowledge everything.
func (v *visit) acknowledge() {
	all := v.at.Sessions()
	all.CaughtUp(v.Session, "x")
	probe, _ := all.Advance(v.Session, passed(v.at.sp), true)
	all.Confirm(v.Session, probe)
}

func (v *visit) end() { v.at.Sessions().End(v.Session, v.topics) }

// wait reports whether the client waits for what is known elsewhere.
func (v *visit) wait() bool {
	_, _, wait := v.at.Sessions().After(v.Session, "x", now(v.at.sp, "x"))
	return wait
}

// assertMissed wants the client to be sent some messages.
func (v *visit) assertMissed(want string) {
	v.at.town.t.Helper()
	after, _, wait := v.at.Sessions().After(v.Session, "x", now(v.at.sp, "x"))
	p := v.at.sp.Since("x", after, 0)
	if got := texts(p.Messages); got != want || p.Missing != "" || wait {
		v.at.town.t.Errorf("the client is sent %q (%q, wait %t), want %q", got, p.Missing, wait, want)
	}
}

// TestSessionElsewhere: a client that comes back to another node is sent what it missed,
// and a connection that the other node still has is given up.
func TestSessionElsewhere(t *testing.T) {
	w := newTown(t, 3)
	v := w.connect(0)
	w.pass(time.Second)
	w.say(1, "m0")
	v.acknowledge()
	w.say(0, "m1")
	v.end()
	w.say(2, "m2")

	v = w.connect(1)
	if !v.wait() {
		t.Error("it does not wait for the other nodes")
	}
	w.pass(10 * time.Millisecond)
	v.assertMissed("m1 m2")
	v.acknowledge()
	w.say(0, "m3")
	half := v

	v = w.connect(2)
	w.pass(10 * time.Millisecond)
	if !v.wait() || !half.gaveUp {
		t.Errorf("it waits: %t; the other connection gives up: %t", v.wait(), half.gaveUp)
	}
	half.end()
	w.pass(10 * time.Millisecond)
	v.assertMissed("m3")
	w.pass(10 * time.Second)
	for i, h := range w.nodes {
		if st := h.Sessions().Stats(); st.Kept != 0 || st.Connected != i/2 {
			t.Errorf("node %d: %+v", i, st)
		}
	}

	stranger := w.nodes[0].sp.NewSession("eve", "a name of a session")
	w.nodes[0].Sessions().Connect(stranger, new(line))
	w.nodes[0].Sessions().Join(stranger, "x", now(w.nodes[0].sp, "x"))
	w.pass(10 * time.Millisecond)
	if _, known, wait := w.nodes[0].Sessions().After(stranger, "x", now(w.nodes[0].sp, "x")); known || wait {
		t.Errorf("a new session: known %t, wait %t", known, wait)
	}
}

// TestSessionsOfANodeThatStops: all nodes have them, until one needs them.
func TestSessionsOfANodeThatStops(t *testing.T) {
	w := newTown(t, 3)
	v := w.connect(0)
	w.pass(time.Second)
	v.acknowledge()
	w.nodes[0].Sessions().HandOver()
	w.say(1, "m0")
	v.end()
	w.pass(time.Millisecond)
	w.nodes[0].mute = true
	for _, h := range w.nodes[1:] {
		h.Sessions().Down(1, true)
		h.Down(1)
		if st := h.Sessions().Stats(); st.Kept != 1 {
			t.Errorf("%+v", st)
		}
	}
	v = w.connect(1)
	w.pass(10 * time.Millisecond)
	v.assertMissed("m0")
	w.pass(10 * time.Second)
	if st := w.nodes[2].Sessions().Stats(); st.Kept != 0 {
		t.Errorf("a copy is left: %+v", st)
	}
}

// TestSessionsAfterACrash: sessions that nobody knows begin at what the clients of the dead
// node had acknowledged, whether it is known to be dead or not.
func TestSessionsAfterACrash(t *testing.T) {
	for name, down := range map[string]bool{"at once": false, "later": true} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, 3)
			v, behind := w.connect(0), w.nodes[0].sp.NewSession("bob", "another name of a session")
			w.nodes[0].Sessions().Connect(behind, new(line))
			w.pass(time.Second)
			w.say(1, "m0")
			v.acknowledge()
			w.nodes[0].Sessions().Join(behind, "x", now(w.nodes[0].sp, "x")) // has not acknowledged what follows
			w.say(0, "m1")
			v.acknowledge()
			for _, h := range w.nodes[1:] {
				if err := h.Sessions().Announced(1, w.nodes[0].Sessions().Stable()); err != nil {
					t.Fatal(err)
				}
			}
			w.nodes[0].mute = true
			w.say(1, "m2")
			if down {
				for _, h := range w.nodes[1:] {
					h.Down(1)
					h.Sessions().Down(1, false)
				}
			}
			v = w.connect(1)
			w.pass(20 * time.Millisecond)
			if v.wait() == down {
				t.Errorf("it waits: %t", v.wait())
			}
			w.pass(time.Second)
			v.assertMissed("m1 m2")
			v.acknowledge()
			w.say(2, "m3")
			v.end()
			v = w.connect(1)
			w.pass(time.Second)
			v.assertMissed("m3")
			v.end()
			if !down {
				return
			}
			w.pass(10 * time.Millisecond)
			w.clock.advance(history.SessionAge + time.Second)
			w.say(1, "m4")
			v = w.connect(2)
			w.pass(time.Second)
			v.assertMissed("")
		})
	}
}

// crash returns three nodes, of which the first has died. Its client has received m0, and missed
// m1 and m2.
func crash(t *testing.T) *town {
	w := newTown(t, 3)
	v := w.connect(0)
	w.pass(time.Second)
	w.say(1, "m0")
	v.acknowledge()
	w.nodes[0].Announce()
	w.pass(time.Second)
	w.nodes[0].mute = true
	w.say(1, "m1")
	w.say(2, "m2")
	return w
}

// TestSessionAfterDozers: in long polling a node that is polled for a session of a dead node
// opens a connection, which the client drops at once for one elsewhere. That must not cost it
// what it missed, wherever it goes while the nodes still ask each other.
func TestSessionAfterDozers(t *testing.T) {
	for name, path := range map[string]func(w *town) *visit{
		"elsewhere": func(w *town) *visit {
			w.doze(1)
			w.pass(20 * time.Millisecond)
			return w.connect(2)
		},
		"to the same node": func(w *town) *visit {
			w.doze(1)
			w.pass(20 * time.Millisecond)
			return w.connect(1)
		},
		"after its end": func(w *town) *visit {
			d := w.doze(1)
			w.pass(20 * time.Millisecond)
			d.end()
			return w.connect(1)
		},
		"elsewhere after its end": func(w *town) *visit {
			d := w.doze(1)
			w.pass(20 * time.Millisecond)
			d.end()
			w.pass(20 * time.Millisecond)
			return w.connect(2)
		},
		"after two": func(w *town) *visit {
			w.doze(1)
			w.pass(20 * time.Millisecond)
			w.doze(2)
			w.pass(20 * time.Millisecond)
			w.doze(2)
			w.pass(20 * time.Millisecond)
			return w.connect(1)
		},
		"late": func(w *town) *visit {
			w.doze(1)
			w.pass(time.Second)
			return w.connect(1)
		},
		"late elsewhere": func(w *town) *visit {
			w.doze(1)
			w.pass(time.Second)
			return w.connect(2)
		},
		"late, after its end": func(w *town) *visit {
			d := w.doze(1)
			w.pass(time.Second)
			d.end()
			return w.connect(1)
		},
		"late, back": func(w *town) *visit {
			w.doze(1)
			w.pass(time.Second)
			w.doze(2)
			w.pass(10 * time.Millisecond)
			return w.connect(1)
		},
		"joined twice": func(w *town) *visit {
			v := w.connect(1)
			w.pass(20 * time.Millisecond)
			v.end()
			w.say(2, "m3")
			return w.connect(1)
		},
		"joined twice elsewhere": func(w *town) *visit {
			v := w.connect(1)
			w.pass(20 * time.Millisecond)
			v.end()
			w.say(2, "m3")
			return w.connect(2)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := crash(t)
			v := path(w)
			want := texts(w.nodes[1].sp.Last("x", 10))[len("m0 "):]
			w.pass(5 * time.Second)
			v.assertMissed(want)
			for i, h := range w.nodes[1:] {
				if st := h.Sessions().Stats(); h == v.at != (st.Connected == 1) {
					t.Errorf("node %d: %+v", i+1, st)
				}
			}
		})
	}
}

// TestSessionOfAConnectionThatWaits: what a connection here or elsewhere is about to give up goes to the
// connection that asked last.
func TestSessionOfAConnectionThatWaits(t *testing.T) {
	w := newTown(t, 3)
	v := w.connect(0)
	w.pass(time.Second)
	w.say(1, "m0")
	v.acknowledge()
	w.say(1, "m1")
	w.doze(0) // waits for the end of v
	w.pass(10 * time.Millisecond)
	w.doze(1)
	w.pass(10 * time.Millisecond)
	last := w.connect(2)
	w.pass(10 * time.Millisecond)
	if !v.gaveUp || !last.wait() {
		t.Errorf("the first gives up: %t; the last waits: %t", v.gaveUp, last.wait())
	}
	v.end()
	w.pass(time.Second)
	last.assertMissed("m1")
}

// TestSessionThatIsNotGivenUp: a client does not wait for ever.
func TestSessionThatIsNotGivenUp(t *testing.T) {
	for name, at := range map[string]int{"here": 0, "elsewhere": 1} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, 2)
			w.connect(0).acknowledge()
			w.nodes[0].Announce()
			w.pass(time.Second)
			w.say(0, "m0")
			v := w.connect(at)
			w.pass(time.Second)
			if !v.wait() {
				t.Error("it does not wait")
			}
			w.pass(3 * time.Second)
			if v.wait() {
				t.Error("it waits for ever")
			}
			if at == 1 {
				v.assertMissed("m0")
			}
		})
	}
}

// TestStableOfTheLost: a client that has lost its connection before the node dies is sent what
// it missed.
func TestStableOfTheLost(t *testing.T) {
	w := newTown(t, 2)
	v := w.connect(0)
	w.pass(time.Second)
	v.acknowledge()
	w.say(1, "m0")
	v.end()
	w.nodes[0].Announce()
	w.pass(time.Second)
	w.nodes[0].mute = true
	v = w.connect(1)
	w.pass(time.Second)
	v.assertMissed("m0")
}

// TestStableOfTheConnected: a client that has not acknowledged what it was sent last, before its node dies, is sent that
// again.
func TestStableOfTheConnected(t *testing.T) {
	w := newTown(t, 2)
	v := w.connect(0)
	w.pass(time.Second)
	w.say(1, "m0")
	v.acknowledge()
	w.say(1, "m1")
	w.nodes[0].Announce()
	w.pass(time.Second)
	w.nodes[0].mute = true
	v = w.connect(1)
	w.pass(time.Second)
	v.assertMissed("m1")
}

// TestStableGoesBack: a node that takes an old session says so before it may die.
func TestStableGoesBack(t *testing.T) {
	w := newTown(t, 3)
	v := w.connect(0)
	w.pass(time.Second)
	v.acknowledge()
	w.say(2, "m0")
	w.nodes[1].Announce()
	w.pass(time.Second)
	v.end()
	v = w.connect(1)
	w.pass(time.Second)
	v.assertMissed("m0")
	w.nodes[1].mute = true
	v = w.connect(2)
	w.pass(time.Second)
	v.assertMissed("m0")
}

func FuzzSessionMessages(f *testing.F) {
	w := newTown(f, 2)
	var seen [][]byte
	w.nodes[0].Sessions().Share(recorder{&seen})
	v := w.connect(0)
	v.end()
	w.nodes[0].Sessions().HandOver()
	for _, b := range append(seen, w.nodes[0].Sessions().Stable(), []byte{1, 1}, append([]byte{1, 1}, make([]byte, 16)...), []byte{2, 1, 0}) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newTown(t, 2)
		w.connect(0)
		w.pass(5 * time.Millisecond)
		all := w.nodes[0].Sessions()
		all.Apply(2, data)
		all.Receive(2, data)
		all.Announced(2, data)
		all.Stable()
		w.nodes[1].mute = true
		w.connect(0).end()
	})
}

// recorder is a link that keeps what is sent.
type recorder struct{ seen *[][]byte }

func (r recorder) Send(_ history.LogID, data []byte) bool {
	*r.seen = append(*r.seen, bytes.Clone(data))
	return true
}

func (r recorder) Announce()           {}
func (r recorder) Append(entry []byte) { *r.seen = append(*r.seen, bytes.Clone(entry)) }
