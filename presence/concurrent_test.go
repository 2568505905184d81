package presence

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestConcurrent has many channels of a few topics at work at once, with and without a window. Clients that stay have the
// truth in the end, whatever they saw on the way.
func TestConcurrent(t *testing.T) {
	for _, window := range []time.Duration{0, 100 * time.Microsecond} {
		t.Run(window.String(), func(t *testing.T) {
			n := newNode()
			tr := newTracker(t, n, Options{Window: window})
			const topics, workers, rounds = 2, 8, 150
			var stay []*channel
			for i := range topics {
				stay = append(stay, n.join(fmt.Sprint("room:", i)))
			}
			var wg sync.WaitGroup
			for w := range workers {
				wg.Go(func() { work(t, n, tr, fmt.Sprint("room:", w%topics), rounds) })
			}
			for _, c := range stay {
				if err := tr.PushState(c); err != nil {
					t.Error(err)
				}
			}
			wg.Wait()
			tr.Flush()
			for _, c := range stay {
				client := newClient()
				client.rejoin()
				for _, e := range c.take() {
					if err := client.handle(e); err != nil {
						t.Fatal(err)
					}
				}
				if got, want := client.shape(), shape(tr.List(c.topic)); !sameShape(got, want) || len(want) != 1 {
					t.Errorf("%s: client has %v, the list is %v", c.topic, got, want)
				}
				n.mu.Lock()
				var left []*channel
				for c := range n.channels {
					left = append(left, c)
				}
				n.mu.Unlock()
				for _, l := range left {
					if l.topic == c.topic {
						l.end()
					}
				}
			}
			tr.Flush()
			checkEmpty(t, tr)
		})
	}
}

// TestReplicaConcurrent has a node come, go and change while clients of this one do: who stays has the truth in the end.
func TestReplicaConcurrent(t *testing.T) {
	for _, window := range []time.Duration{0, 100 * time.Microsecond} {
		t.Run(window.String(), func(t *testing.T) {
			n := newNode()
			tr := newTracker(t, n, Options{Window: window, Replicator: &safeLedger{}})
			stay := n.join("room:0")
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() { work(t, n, tr, "room:0", 100) })
			}
			if err := tr.PushState(stay); err != nil {
				t.Error(err)
			}
			wg.Go(func() {
				for range 100 {
					tr.Own(func(string, string, string) {})
				}
			})
			wg.Go(func() { visit(tr.NewReplica(), 300) })
			wg.Wait()
			tr.Flush()
			client := newClient()
			client.rejoin()
			for _, e := range stay.take() {
				if err := client.handle(e); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := client.shape(), shape(tr.List("room:0")); !sameShape(got, want) || len(want["far"]) != 1 {
				t.Errorf("client has %v, the list is %v", got, want)
			}
		})
	}
}

// visit has a replica do all that it can, and leaves it with one presence.
func visit(r *Replica, rounds int) {
	meta := func(i int, prev string) string { return withPrev(fmt.Sprintf(`{"phx_ref":"far%013d"}`, i), prev) }
	for i := range rounds {
		r.Up()
		r.Join("room:0", "shared", meta(4*i, ""))
		r.Join("room:0", "far", meta(4*i+1, ""))
		r.Join("room:0", "far", meta(4*i+2, refOf(meta(4*i+1, ""))))
		r.Down()
		r.Leave("room:0", "shared", refOf(meta(4*i, "")))
		r.Up()
		roster := &Roster{}
		roster.Join("room:0", "far", meta(4*i+3, ""))
		r.Replace(roster)
	}
}

// safeLedger is a Replicator that counts.
type safeLedger struct{ joins, leaves atomic.Int64 }

func (*safeLedger) Open(*Tracker) (uint16, error) { return 1, nil }
func (*safeLedger) Close(*Tracker)                {}
func (l *safeLedger) Join(_, _, _ string)         { l.joins.Add(1) }
func (l *safeLedger) Leave(_, _, _ string)        { l.leaves.Add(1) }

// work is one client that comes and goes and ends by staying with one key.
func work(t *testing.T, n *node, tr *Tracker, topic string, rounds int) {
	check := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	for i := range rounds {
		c := n.join(topic)
		_, err := tr.Track(c, "shared", json.RawMessage(`{"n":1}`))
		check(err)
		check(tr.PushState(c))
		_, err = tr.Track(c, fmt.Sprint("own", i), struct{}{})
		check(err)
		_, err = tr.Update(c, "shared", json.RawMessage(`{"n":2}`))
		check(err)
		_, err = tr.UpdateFunc(c, "shared", func(json.RawMessage) any { return json.RawMessage(`{"n":3}`) })
		check(err)
		tr.List(topic)
		tr.AppendList(nil, topic)
		tr.Untrack(c, fmt.Sprint("own", i))
		if i < rounds-1 {
			c.end()
		}
	}
}

func TestChannelHasEnded(t *testing.T) {
	n := newNode()
	tr := newTracker(t, n, Options{})
	fresh, used := n.join("room:1"), n.join("room:1")
	track(t, tr, used, "ann", struct{}{})
	used.end()
	fresh.end()
	n.takeDiffs()
	for _, c := range []*channel{fresh, used} {
		for range 2 {
			if ref, err := tr.Track(c, "ann", struct{}{}); !errors.Is(err, ErrChannelEnded) || ref != "" {
				t.Errorf("track: %q, %v", ref, err)
			}
		}
		if _, err := tr.Update(c, "ann", struct{}{}); !errors.Is(err, ErrNotTracked) {
			t.Errorf("update: %v", err)
		}
		if err := tr.PushState(c); !errors.Is(err, errEnded) {
			t.Errorf("state: %v", err)
		}
	}
	wantDiffs(t, n)
	checkEmpty(t, tr)
}

// TestEndRace has a channel end while others track for it: nothing of it stays, and diffs balance.
func TestEndRace(t *testing.T) {
	n := newNode()
	tr := newTracker(t, n, Options{})
	for round := range 300 {
		c := n.join("room:1")
		var wg sync.WaitGroup
		for w := range 3 {
			wg.Go(func() {
				for i := range 3 {
					if _, err := tr.Track(c, fmt.Sprint(w, i), struct{}{}); err != nil && !errors.Is(err, ErrChannelEnded) {
						t.Error(err)
					}
				}
			})
		}
		wg.Go(c.end)
		wg.Wait()
		if list := tr.List("room:1"); len(list) != 0 {
			t.Fatalf("round %d: ghosts %v", round, list)
		}
		checkEmpty(t, tr)
	}
	balance := make(map[string]int)
	for _, raw := range n.takeDiffs() {
		var d diff
		if err := json.Unmarshal([]byte(raw), &d); err != nil {
			t.Fatal(err)
		}
		for _, ms := range parse(d.Joins) {
			for _, m := range ms {
				balance[m.ref]++
			}
		}
		for _, ms := range parse(d.Leaves) {
			for _, m := range ms {
				balance[m.ref]--
			}
		}
	}
	for ref, b := range balance {
		if b != 0 {
			t.Errorf("%s joined %d times more than it left", ref, b)
		}
	}
}

// TestWatchedOnce: a channel that tracks again and again is asked for its end once.
func TestWatchedOnce(t *testing.T) {
	n := newNode()
	tr := newTracker(t, n, Options{})
	c := n.join("room:1")
	for range 10 {
		track(t, tr, c, "ann", struct{}{})
		tr.Untrack(c, "ann")
	}
	if len(c.onEnd) != 1 {
		t.Errorf("OnEnd was called %d times", len(c.onEnd))
	}
	c.end()
	checkEmpty(t, tr)
}
