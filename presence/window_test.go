package presence

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

const window = 50 * time.Millisecond

// inWindow runs a test with a clock of its own and a tracker with a window.
func inWindow(t *testing.T, test func(t *testing.T, n *node, tr *Tracker)) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		tr := newTracker(t, n, Options{Window: window})
		test(t, n, tr)
	})
}

func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestWindowMerges(t *testing.T) {
	inWindow(t, func(t *testing.T, n *node, tr *Tracker) {
		a, b := n.join("room:1"), n.join("room:1")
		r1 := track(t, tr, a, "ann", struct{}{})
		pass(window - 1)
		r2 := track(t, tr, b, "ann", struct{}{})
		r3 := track(t, tr, b, "bob", struct{}{})
		wantDiffs(t, n)
		if tr.Count("room:1") != 2 {
			t.Errorf("count %d: the truth does not wait", tr.Count("room:1"))
		}
		pass(1)
		wantDiffs(t, n, fmt.Sprintf(
			`{"joins":{"ann":{"metas":[{"phx_ref":%q},{"phx_ref":%q}]},"bob":{"metas":[{"phx_ref":%q}]}},"leaves":{}}`, r1, r2, r3))
		pass(10 * window)
		wantDiffs(t, n)
	})
}

func TestWindowCancels(t *testing.T) {
	inWindow(t, func(t *testing.T, n *node, tr *Tracker) {
		a := n.join("room:1")
		track(t, tr, a, "ann", struct{}{})
		update(t, tr, a, "ann", struct{}{})
		track(t, tr, a, "bob", struct{}{})
		tr.Untrack(a, "ann")
		a.end()
		if tr.Count("room:1") != 0 || tr.Get("room:1", "ann") != nil || string(tr.AppendList(nil, "room:1")) != "{}" {
			t.Error("still there")
		}
		pass(window)
		wantDiffs(t, n)
		checkEmpty(t, tr)
	})
}

func TestWindowMergesUpdates(t *testing.T) {
	inWindow(t, func(t *testing.T, n *node, tr *Tracker) {
		a := n.join("room:1")
		// Clients never see what an update replaces within the window, so prev does not name it.
		track(t, tr, a, "ann", json.RawMessage(`{"n":1}`))
		r2 := update(t, tr, a, "ann", json.RawMessage(`{"n":2}`))
		pass(window)
		m2 := fmt.Sprintf(`{"phx_ref":%q,"n":2}`, r2)
		wantDiffs(t, n, fmt.Sprintf(`{"joins":{"ann":{"metas":[%s]}},"leaves":{}}`, m2))

		update(t, tr, a, "ann", json.RawMessage(`{"n":3}`))
		r4 := update(t, tr, a, "ann", json.RawMessage(`{"n":4}`))
		pass(window)
		m4 := fmt.Sprintf(`{"phx_ref":%q,"phx_ref_prev":%q,"n":4}`, r4, r2)
		wantDiffs(t, n, fmt.Sprintf(`{"joins":{"ann":{"metas":[%s]}},"leaves":{"ann":{"metas":[%s]}}}`, m4, m2))

		// Untracked after an update: only what clients know leaves. Tracked again: it comes anew.
		update(t, tr, a, "ann", json.RawMessage(`{"n":5}`))
		tr.Untrack(a, "ann")
		r6 := track(t, tr, a, "ann", json.RawMessage(`{"n":6}`))
		pass(window)
		wantDiffs(t, n, fmt.Sprintf(`{"joins":{"ann":{"metas":[{"phx_ref":%q,"n":6}]}},"leaves":{"ann":{"metas":[%s]}}}`, r6, m4))
	})
}

// TestWindowState: within a window a state is what the diffs sent so far amount to, so that the next diff fits.
func TestWindowState(t *testing.T) {
	inWindow(t, func(t *testing.T, n *node, tr *Tracker) {
		a := n.join("room:1")
		r1 := track(t, tr, a, "ann", struct{}{})
		pass(window)
		a.take()
		known := fmt.Sprintf(`{"ann":{"metas":[{"phx_ref":%q}]}}`, r1)

		r2 := update(t, tr, a, "ann", struct{}{})
		b := n.join("room:1")
		r3 := track(t, tr, b, "bob", struct{}{})
		if err := tr.PushState(b); err != nil {
			t.Fatal(err)
		}
		tr.Untrack(a, "ann")
		if err := tr.PushState(b); err != nil {
			t.Fatal(err)
		}
		if got, want := b.take(), []event{{EventState, known}, {EventState, known}}; !slices.Equal(got, want) {
			t.Fatalf("states %q, want %q", got, want)
		}
		if got, want := string(tr.AppendList(nil, "room:1")), fmt.Sprintf(`{"bob":{"metas":[{"phx_ref":%q}]}}`, r3); got != want {
			t.Errorf("list %s, want %s (and no %s)", got, want, r2)
		}
		pass(window)
		want := fmt.Sprintf(`{"joins":{"bob":{"metas":[{"phx_ref":%q}]}},"leaves":{"ann":{"metas":[{"phx_ref":%q}]}}}`, r3, r1)
		if got := b.take(); !slices.Equal(got, []event{{EventDiff, want}}) {
			t.Fatalf("got %q, want %s", got, want)
		}
	})
}

// TestWindowTimer: the window begins with the first change, a flush ends it, and nothing is armed while nothing waits.
func TestWindowTimer(t *testing.T) {
	inWindow(t, func(t *testing.T, n *node, tr *Tracker) {
		armed := func() bool {
			s := tr.stripe("room:1")
			s.mu.Lock()
			defer s.mu.Unlock()
			tp := s.topics["room:1"]
			return tp != nil && tp.timer != nil && tp.timer.armed
		}
		a := n.join("room:1")
		for range 3 {
			track(t, tr, a, "ann", struct{}{})
			pass(window / 2)
			if !armed() {
				t.Fatal("not armed while a diff waits")
			}
			tr.Flush()
			if armed() || len(n.takeDiffs()) != 1 {
				t.Fatal("armed or no diff after a flush")
			}
			update(t, tr, a, "ann", struct{}{})
			pass(window - 1)
			wantDiffs(t, n)
			pass(1)
			if armed() || len(n.takeDiffs()) != 1 {
				t.Fatal("armed or no diff after the window")
			}
			pass(5 * window)
			tr.Untrack(a, "ann")
			pass(window)
			if len(n.takeDiffs()) != 1 {
				t.Fatal("no diff of the leave")
			}
		}
	})
}

func TestWindowClose(t *testing.T) {
	inWindow(t, func(t *testing.T, n *node, tr *Tracker) {
		a := n.join("room:1")
		ref := track(t, tr, a, "ann", struct{}{})
		tr.Close() // returns without waiting for the window, or the clock would have to pass
		wantDiffs(t, n, fmt.Sprintf(`{"joins":{"ann":{"metas":[{"phx_ref":%q}]}},"leaves":{}}`, ref))
		pass(2 * window)
		wantDiffs(t, n)
	})
}

// TestRefsOfAStoppedClock: refs are unique though time stands still or goes back, and the counter wraps.
func TestRefsOfAStoppedClock(t *testing.T) {
	now := time.Unix(1700000000, 0)
	r := refSource{node: 7, now: func() time.Time { return now }}
	seen := make(map[[refSize]byte]bool)
	for i := range 200_000 {
		if i%50_000 == 0 {
			now = now.Add(-time.Nanosecond)
		}
		ref := r.next()
		if seen[ref] {
			t.Fatalf("%s again after %d", ref, i)
		}
		seen[ref] = true
	}
}

// TestWindowEndMeetsFlush: a window ends while a flush holds the lock, and the next one begins at once. No end is lost or
// counted twice, or Close would wait for it for ever. It needs a real clock: for synctest a wait for a lock is no rest.
func TestWindowEndMeetsFlush(t *testing.T) {
	n := newNode()
	tr := New(n, Options{Window: 5 * time.Millisecond})
	a := n.join("room:1")
	track(t, tr, a, "ann", struct{}{})
	s := tr.stripe("room:1")
	s.mu.Lock()
	time.Sleep(50 * time.Millisecond) // the window's end waits for the lock now
	tp := s.topics["room:1"]
	tr.options.Window = time.Hour
	again := func() {
		tp.changed(tp.entries["ann"].first)
		tr.settle(s, tp)
	}
	tr.flush(s, tp)
	again()
	stale := tp.timer
	s.mu.Unlock()
	time.Sleep(20 * time.Millisecond) // it gets the lock
	s.mu.Lock()
	if tp.timer != stale || !tp.timer.armed {
		t.Error("the end of the first window has ended the second")
	}
	again()
	s.mu.Unlock()
	closed := make(chan struct{})
	go func() { tr.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(time.Minute):
		t.Fatal("Close waits for a timer that is none")
	}
}
