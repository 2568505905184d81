package history_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mycelium-rt/mycelium/history"
)

// line is the connection of a client.
type line struct{ gaveUp bool }

func (l *line) GiveUp() { l.gaveUp = true }

// newSessions returns a store with one space that keeps what these tests record.
func newSessions(t interface{ Fatal(...any) }, memory int64) (*clock, *history.Space, *history.Sessions) {
	c := newClock()
	store := history.NewStore(history.Options{Memory: memory, Now: c.now})
	sp, err := store.Space("", []history.Rule{{Messages: 1000, Age: time.Hour, Bytes: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	return c, sp, store.Sessions()
}

// passed returns a position to advance to.
func passed(sp *history.Space) *history.Position {
	p := sp.Passed()
	return &p
}

// TestSessionKeys: a session belongs to a space, a client and a name.
func TestSessionKeys(t *testing.T) {
	store := history.NewStore(history.Options{})
	one, two := store.Open("one"), store.Open("two")
	seen := make(map[history.SessionKey]bool)
	for _, key := range []history.SessionKey{
		one.SessionKey("ada", "name"), two.SessionKey("ada", "name"), one.SessionKey("", "adaname"), one.SessionKey("adan", "ame"), one.SessionKey("ada", ""),
		history.NewStore(history.Options{Secret: []byte("secret")}).Open("one").SessionKey("ada", "name"),
	} {
		if seen[key] {
			t.Errorf("%x is the key of two", key)
		}
		seen[key] = true
	}
	if one.SessionKey("ada", "name") != history.NewStore(history.Options{}).Open("one").SessionKey("ada", "name") {
		t.Error("the key is another in the next process")
	}
}

// TestSessionReplay: a position counts for a topic when the client has acknowledged the
// end of its replay, and not before.
func TestSessionReplay(t *testing.T) {
	_, sp, all := newSessions(t, 1<<20)
	start := now(sp, "x")
	one := sp.NewSession("", "name")
	all.Connect(one, new(line))
	all.Join(one, "x", start)
	all.CaughtUp(one, "x")
	all.Advance(one, passed(sp), false)
	all.End(one, []string{"x"})
	record(sp, "x", "0")

	two := sp.NewSession("", "name")
	all.Connect(two, new(line))
	all.Join(two, "x", now(sp, "x"))
	after, known, wait := all.After(two, "x", now(sp, "x"))
	if !after.Equal(start) || !known || wait {
		t.Fatalf("the client has %v (%t, %t), want %v", after, known, wait, start)
	}
	early, _ := all.Advance(two, passed(sp), true) // in the middle of the replay
	all.Confirm(two, early)
	early, _ = all.Advance(two, passed(sp), true)
	all.CaughtUp(two, "x") // behind the probe
	all.Confirm(two, early)
	all.End(two, []string{"x"})

	three := sp.NewSession("", "name")
	all.Connect(three, new(line))
	all.Join(three, "x", now(sp, "x"))
	if after, _, _ := all.After(three, "x", now(sp, "x")); !after.Equal(start) {
		t.Errorf("a probe before the end of the replay counted: %v", after)
	}
	all.CaughtUp(three, "x")
	probe, fresh := all.Advance(three, passed(sp), true)
	if again, second := all.Advance(three, passed(sp), true); !fresh || second || again != probe {
		t.Errorf("probes %d (%t) and %d (%t)", probe, fresh, again, second)
	}
	all.Confirm(three, probe-1)
	all.Confirm(three, probe)
	all.End(three, []string{"x"})
	four := sp.NewSession("", "name")
	all.Connect(four, new(line))
	all.Join(four, "x", now(sp, "x"))
	if after, _, _ := all.After(four, "x", now(sp, "x")); !after.Equal(now(sp, "x")) {
		t.Errorf("the client has %v", after)
	}
}

// TestSessionOfLateJoin: a position that was read before a join does not count for its topic,
// whose client must not be sent what was before.
func TestSessionOfLateJoin(t *testing.T) {
	_, sp, all := newSessions(t, 1<<20)
	one := sp.NewSession("", "name")
	all.Connect(one, new(line))
	before := passed(sp)
	record(sp, "x", "0")
	joined := now(sp, "x")
	all.Join(one, "x", joined)
	all.CaughtUp(one, "x")
	all.Advance(one, before, false)
	all.Lose(one, "x")
	if after, known, _ := all.After(one, "x", now(sp, "x")); !after.Equal(joined) || !known {
		t.Errorf("the client has %v, want %v", after, joined)
	}
}

// TestSessionBounds: sessions are kept for SessionAge, and as many as memory permits.
func TestSessionBounds(t *testing.T) {
	c, sp, all := newSessions(t, 100_000)
	for i := range 1000 {
		one := sp.NewSession("", fmt.Sprint(i))
		all.Connect(one, new(line))
		all.Join(one, "a topic", now(sp, "a topic"))
		all.End(one, []string{"a topic"})
		c.advance(time.Millisecond)
	}
	st := all.Stats()
	if st.Connected != 0 || st.Kept < 20 || st.Bytes > 25_000 || st.Kept+int(st.Dropped) != 1000 {
		t.Errorf("%+v", st)
	}
	back := func(name string) bool {
		one := sp.NewSession("", name)
		all.Connect(one, new(line))
		all.Join(one, "a topic", now(sp, "a topic"))
		_, known, _ := all.After(one, "a topic", now(sp, "a topic"))
		all.End(one, []string{"a topic"})
		return known
	}
	if !back("999") || back("0") {
		t.Error("not the oldest were dropped")
	}
	c.advance(history.SessionAge + time.Second)
	if back("998") {
		t.Error("a session was kept for too long")
	}
}

// TestSessionSteps: whatever is lost, a client is sent every message of a topic that it
// has not left.
func TestSessionSteps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, sp, all := newSessions(t, 1<<24)
		counts := make(map[string]int)
		topics := []string{"a", "b"}
		var one *history.Session
		joined, sent, received := map[string]bool{}, map[string]int{}, map[string]int{}
		known := map[string]bool{}
		var wire []func() // what is on its way to the client
		heard := false
		send := func(topic string, n int) {
			sent[topic], heard = n+1, true
			wire = append(wire, func() {
				if n > received[topic] {
					t.Fatalf("%s: %d came after %d", topic, n, received[topic]-1)
				}
				received[topic] = max(received[topic], n+1)
			})
		}
		connect := func() {
			if one != nil {
				var list []string
				for _, topic := range topics {
					if joined[topic] {
						list = append(list, topic)
					}
				}
				all.End(one, list)
			}
			one = sp.NewSession("", "name")
			all.Connect(one, new(line))
			joined, wire, heard = map[string]bool{}, nil, false
		}
		connect()
		pick := func() string { return rapid.SampledFrom(topics).Draw(t, "topic") }
		t.Repeat(map[string]func(*rapid.T){
			"record": func(*rapid.T) {
				topic := pick()
				record(sp, topic, fmt.Sprint(counts[topic]))
				if joined[topic] {
					send(topic, counts[topic])
				}
				counts[topic]++
			},
			"join": func(*rapid.T) {
				topic := pick()
				if joined[topic] {
					all.Lose(one, topic)
				}
				at := now(sp, topic)
				all.Join(one, topic, at)
				after, was, _ := all.After(one, topic, at)
				if was != known[topic] {
					t.Fatalf("%s: known is %t", topic, was)
				}
				if !known[topic] {
					received[topic] = counts[topic]
				}
				joined[topic], known[topic] = true, true
				for _, m := range sp.Since(topic, after, 0).Messages {
					var n int
					fmt.Sscan(string(m.Payload), &n)
					send(topic, n)
				}
				all.CaughtUp(one, topic)
			},
			"leave": func(*rapid.T) {
				if topic := pick(); joined[topic] {
					all.Leave(one, topic)
					joined[topic], known[topic] = false, false
				}
			},
			"beat": func(*rapid.T) {
				probe, fresh := all.Advance(one, passed(sp), heard)
				if fresh {
					heard = false
				}
				if of := one; probe != 0 {
					wire = append(wire, func() { all.Confirm(of, probe) })
				}
			},
			"receive": func(*rapid.T) {
				n := rapid.IntRange(0, len(wire)).Draw(t, "n")
				for _, f := range wire[:n] {
					f()
				}
				wire = wire[n:]
			},
			"cut":  func(*rapid.T) { connect() },
			"wait": func(*rapid.T) { c.advance(time.Second) },
			"":     func(*rapid.T) {},
		})
	})
}
