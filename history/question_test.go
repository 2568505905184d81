package history_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/history"
)

// joins has the client join another topic, and acknowledge all that was sent.
func (v *visit) joins(topic string) {
	all := v.at.Sessions()
	v.topics = append(v.topics, topic)
	all.Join(v.Session, topic, now(v.at.sp, topic))
	all.CaughtUp(v.Session, topic)
	v.acknowledge()
}

// assertKnows wants the node to know that the client has joined a topic.
func (v *visit) assertKnows(topic string) {
	v.at.town.t.Helper()
	all := v.at.Sessions()
	v.topics = append(v.topics, topic)
	all.Join(v.Session, topic, now(v.at.sp, topic))
	if _, known, wait := all.After(v.Session, topic, now(v.at.sp, topic)); !known || wait {
		v.at.town.t.Errorf("%s: known %t, wait %t", topic, known, wait)
	}
}

// TestSessionCopies: a node that has an old copy, because it did not hear that the client was
// elsewhere, asks for a newer one, and does not forget topics if its clock makes the old one look
// newer.
func TestSessionCopies(t *testing.T) {
	w := newTown(t, 3)
	v := w.connect(0)
	w.pass(time.Second)
	v.acknowledge()
	v.end()
	w.pass(10 * time.Millisecond)
	w.nodes[2].deaf = true
	v = w.connect(1)
	w.pass(time.Second)
	v.joins("y")
	w.say(0, "m0")
	v.acknowledge()
	v.end()
	w.pass(10 * time.Millisecond)
	w.nodes[2].deaf = false
	v = w.connect(2)
	w.pass(10 * time.Millisecond)
	v.assertMissed("")
	v.assertKnows("y")
}

// TestSessionAtHome: the same for a node where the client was connected when it went elsewhere.
func TestSessionAtHome(t *testing.T) {
	w := newTown(t, 2)
	half := w.connect(0)
	w.pass(time.Second)
	half.acknowledge()
	w.nodes[0].deaf = true // it does not hear that the client has gone
	v := w.connect(1)
	w.pass(time.Second)
	v.joins("y")
	half.end()
	w.pass(time.Second)
	v.end()
	w.pass(time.Second)
	w.nodes[0].deaf = false
	v = w.connect(0)
	w.pass(time.Second)
	v.assertKnows("y")
}

// TestSessionCopyOfAHalfOpen: a copy that comes while the node still has an old connection of the session is not
// lost: the node that it comes from stops.
func TestSessionCopyOfAHalfOpen(t *testing.T) {
	w := newTown(t, 2)
	half := w.connect(0)
	w.pass(time.Second)
	half.acknowledge()
	w.nodes[0].deaf = true // it stalls
	v := w.connect(1)
	w.pass(time.Second)
	v.joins("y")
	w.nodes[0].deaf = false
	v.end()
	w.pass(10 * time.Millisecond)
	w.nodes[1].mute = true
	w.nodes[0].Sessions().Down(2, true)
	v = w.connect(0)
	w.pass(10 * time.Millisecond)
	half.end()
	w.pass(time.Second)
	v.assertKnows("y")
}

// TestSessionGivenToTheDead: a session is not lost because a node has asked for it that is gone by now.
func TestSessionGivenToTheDead(t *testing.T) {
	for name, first := range map[string]bool{"before it goes": true, "after it has gone": false} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, 2)
			half := w.connect(0)
			w.pass(time.Second)
			half.acknowledge()
			w.connect(1)
			w.pass(10 * time.Millisecond)
			w.nodes[1].mute, w.nodes[1].deaf = true, true
			if first {
				half.end()
				w.pass(time.Second)
			}
			w.nodes[0].Sessions().Down(2, true)
			if !first {
				half.end()
			}
			w.pass(20 * time.Second)
			v := w.connect(0)
			w.pass(time.Second)
			v.topics = nil
			v.assertKnows("x")
		})
	}
}

// TestSessionTooLarge: a session that does not fit into a message between nodes goes by the log.
func TestSessionTooLarge(t *testing.T) {
	for name, half := range map[string]bool{"kept": false, "half-open": true} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, 2)
			w.nodes[0].most = 20_000
			v := w.connect(0)
			w.pass(time.Second)
			topic := func(i int) string { return fmt.Sprintf("%030d", i) }
			for i := range 900 {
				v.joins(topic(i))
			}
			if !half {
				w.nodes[1].deaf = true // it has yet to start
				v.end()
				w.pass(time.Millisecond)
				w.nodes[1].deaf = false
			}
			handed := w.nodes[0].handed
			other := w.connect(1)
			w.pass(100 * time.Millisecond)
			if half {
				v.end()
			}
			w.pass(10 * time.Millisecond)
			if other.wait() {
				t.Error("it waits for the session")
			}
			other.assertKnows(topic(899))
			w.pass(5 * time.Second)
			if n := w.nodes[0].handed - handed; n != 1 {
				t.Errorf("it was appended to the log %d times", n)
			}
		})
	}
}

// TestSessionLost: questions, answers and sessions that are lost are sent again.
func TestSessionLost(t *testing.T) {
	for name, lose := range map[string]func(w *town, v *visit){
		"question": func(w *town, _ *visit) { w.nodes[0].deaf = true },
		"answer":   func(w *town, _ *visit) { w.nodes[0].mute = true },
		"session": func(w *town, v *visit) {
			w.pass(5 * time.Millisecond) // it is promised
			w.nodes[0].mute = true
			v.end()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, 2)
			v := w.connect(0)
			w.pass(time.Second)
			v.joins("y")
			w.nodes[0].Announce()
			w.pass(time.Second)
			if name != "session" {
				v.end()
			}
			other := w.connect(1)
			lose(w, v)
			w.pass(30 * time.Millisecond)
			w.nodes[0].deaf, w.nodes[0].mute = false, false
			w.pass(time.Second)
			other.assertKnows("y")
			other.end()
			other = w.connect(1)
			w.pass(time.Second)
			other.assertKnows("y")
		})
	}
}

// TestSessionLateQuestion: a question that comes late takes the session from a connection whose
// client is there. What that acknowledges afterwards is not lost.
func TestSessionLateQuestion(t *testing.T) {
	for name, at := range map[string]int{"here": 0, "elsewhere": 1} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, 2)
			v := w.connect(0)
			w.pass(time.Second)
			v.acknowledge()
			late := w.connect(at)
			w.pass(10 * time.Millisecond)
			v.at.Sessions().Lend(v.Session, v.topics)
			w.pass(time.Second)
			if late.wait() {
				t.Error("the other connection waits")
			}
			late.end()
			w.pass(10 * time.Millisecond)
			v.joins("y")
			w.say(0, "m0")
			v.acknowledge()
			w.say(0, "m1")
			v.end()
			w.pass(10 * time.Millisecond)
			v = w.connect(1)
			w.pass(10 * time.Millisecond)
			v.assertMissed("m1")
			v.assertKnows("y")
			v.end()
			w.pass(10 * time.Millisecond)
			w.clock.advance(history.SessionAge + time.Second)
			w.pass(10 * time.Second)
			for _, h := range w.nodes {
				if st := h.Sessions().Stats(); st.Kept != 0 || st.Connected != 0 {
					t.Errorf("%+v", st)
				}
			}
		})
	}
}

// TestSessionOfAStranger: a node that has never heard a dead one learns from the others what its
// clients had.
func TestSessionOfAStranger(t *testing.T) {
	for name, hear := range map[string]func(w *town){
		"whose death was noticed": func(w *town) { w.nodes[1].Sessions().Down(1, false) },
		"that has just died":      func(*town) {},
		"before its first client": func(w *town) {
			w.nodes[1].Announce()
			w.pass(10 * time.Millisecond)
			w.nodes[1].mute = true
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := crash(t)
			w.nodes[2].Sessions().Share(w.nodes[2]) // as if it had just started
			w.nodes[2].Sessions().Up(2)
			hear(w)
			v := w.connect(2)
			w.pass(time.Second)
			v.assertMissed("m1 m2")
		})
	}
}

// TestSessionOfADeadNode: a session without a connection survives its node.
func TestSessionOfADeadNode(t *testing.T) {
	w := newTown(t, 2)
	v := w.connect(0)
	w.pass(time.Second)
	v.acknowledge()
	v.end()
	w.say(1, "m0")
	w.pass(30 * time.Second)
	w.nodes[0].Announce()
	w.pass(time.Second)
	w.nodes[0].mute = true
	v = w.connect(1)
	w.pass(time.Second)
	v.assertMissed("m0")
}

// TestNothingInCommon: what two positions without a common log include is nothing, and who has nothing
// is told what was dropped.
func TestNothingInCommon(t *testing.T) {
	_, one := open(t, history.Options{}, history.Rule{Messages: 1})
	_, two := open(t, history.Options{}, history.Rule{Messages: 1})
	fill(one, "x", 0, 3)
	fill(two, "x", 0, 3)
	nothing := history.Meet(now(one, "x"), now(two, "x"))
	wantPage(t, one.Page("x", history.Ask{After: nothing}), "m2", history.Expired)
}

// TestSessionJoinOfADeadConnection: a node that has stalled handles the join of a connection that its
// client has given up. What the client has acknowledged elsewhere counts, although it is known
// only from before the join.
func TestSessionJoinOfADeadConnection(t *testing.T) {
	for name, one := range map[string]struct {
		beat    bool // the connection ends after the next beat
		stalls  bool // the client's next node stalls before the first one goes on
		unheard bool // and nobody has heard of what its clients have
		at      int  // where the client comes back
	}{
		"to the same node":              {at: 0},
		"after a beat":                  {at: 0, beat: true},
		"to the next node":              {at: 1},
		"elsewhere":                     {at: 2},
		"elsewhere after a beat":        {at: 2, beat: true},
		"the next node stalls":          {at: 0, stalls: true},
		"the next node stalls, a beat":  {at: 0, stalls: true, beat: true},
		"the next node stalls unheard":  {at: 0, stalls: true, unheard: true},
		"elsewhere, as the next stalls": {at: 2, stalls: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newTown(t, 3)
			first, next := w.nodes[0], w.nodes[1]
			dead := &visit{first.sp.NewSession("ada", "a name of a session"), new(line), first, []string{"x"}}
			first.Sessions().Connect(dead.Session, dead.line)
			w.pass(time.Second)
			first.mute, first.deaf = true, true
			for _, at := range []int{2, 1} {
				v := w.connect(at)
				w.pass(time.Second)
				v.acknowledge()
				if at == 2 || !one.stalls {
					v.end()
				} else if !one.unheard {
					next.Announce()
				}
				w.pass(10 * time.Millisecond)
			}
			next.mute, next.deaf = one.stalls, one.stalls
			w.say(2, "m0")
			first.mute, first.deaf = false, false
			first.Sessions().Join(dead.Session, "x", now(first.sp, "x"))
			first.Sessions().CaughtUp(dead.Session, "x")
			if one.beat {
				first.Sessions().Advance(dead.Session, passed(first.sp), false)
			}
			dead.end()
			w.pass(10 * time.Millisecond)
			v := w.connect(one.at)
			w.pass(time.Second)
			v.assertMissed("m0")
		})
	}
}
