package presence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// database answers for Fetch. It blocks each call until the test lets it return.
type database struct {
	mu    sync.Mutex
	asked []string // a call each: topic, keys and how many metas they had
	free  bool     // answer at once
	turn  chan struct{}
	found func(key string) any // nil: {"user": KEY and the number of the call}
	calls int
}

func newDatabase() *database { return &database{turn: make(chan struct{})} }

func (d *database) fetch(ctx context.Context, topic string, presences map[string]Entry) (map[string]any, error) {
	d.mu.Lock()
	asked := topic
	for _, key := range slices.Sorted(maps.Keys(presences)) {
		asked += fmt.Sprintf(" %s%d", key, len(presences[key].Metas))
	}
	d.asked = append(d.asked, asked)
	d.calls++
	call, free := d.calls, d.free
	d.mu.Unlock()
	if !free {
		select {
		case <-d.turn:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	found := make(map[string]any)
	for key := range presences {
		if d.found != nil {
			found[key] = d.found(key)
		} else {
			found[key] = map[string]string{"user": fmt.Sprint(key, " ", call)}
		}
	}
	return found, nil
}

// answer lets the call that waits return, and waits until the tracker has told everybody.
func (d *database) answer() {
	d.turn <- struct{}{}
	synctest.Wait()
}

func (d *database) takeAsked() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	asked := d.asked
	d.asked = nil
	return asked
}

func (d *database) wantAsked(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := d.takeAsked(); !slices.Equal(got, want) {
		t.Fatalf("Fetch was asked about %q, want %q", got, want)
	}
}

// withDatabase runs a test with a clock of its own and a tracker whose Fetch is a database's.
func withDatabase(t *testing.T, o Options, test func(t *testing.T, n *node, d *database, tr *Tracker)) {
	synctest.Test(t, func(t *testing.T) {
		n, d := newNode(), newDatabase()
		if o.Fetch == nil {
			o.Fetch = d.fetch
		}
		test(t, n, d, newTracker(t, n, o))
	})
}

func pushState(t *testing.T, tr *Tracker, c Channel) {
	t.Helper()
	if err := tr.PushState(c); err != nil {
		t.Fatal(err)
	}
}

func wantEvents(t *testing.T, c *channel, want ...event) {
	t.Helper()
	synctest.Wait()
	if got := c.take(); !slices.Equal(got, want) {
		t.Fatalf("got\n%q, want\n%q", got, want)
	}
}

// TestFetch: diffs wait for Fetch and carry what it returned, leaves carry it too, and a state is preceded by a call for all keys.
func TestFetch(t *testing.T) {
	withDatabase(t, Options{}, func(t *testing.T, n *node, d *database, tr *Tracker) {
		a := n.join("room:1")
		r1 := track(t, tr, a, "ann", struct{}{})
		d.wantAsked(t, "room:1 ann1")
		if tr.Count("room:1") != 1 {
			t.Error("the program's own view waits for Fetch")
		}
		wantEvents(t, a)
		d.answer()
		m1 := fmt.Sprintf(`{"phx_ref":%q}`, r1)
		wantEvents(t, a, event{EventDiff, fmt.Sprintf(`{"joins":{"ann":{"metas":[%s],"user":"ann 1"}},"leaves":{}}`, m1)})

		r2 := update(t, tr, a, "ann", struct{}{})
		d.wantAsked(t, "room:1 ann1")
		d.answer()
		m2 := fmt.Sprintf(`{"phx_ref":%q,"phx_ref_prev":%q}`, r2, r1)
		wantEvents(t, a, event{EventDiff, fmt.Sprintf(
			`{"joins":{"ann":{"metas":[%s],"user":"ann 2"}},"leaves":{"ann":{"metas":[%s],"user":"ann 2"}}}`, m2, m1)})

		pushState(t, tr, a)
		d.wantAsked(t, "room:1 ann1")
		wantEvents(t, a)
		d.answer()
		state := fmt.Sprintf(`{"ann":{"metas":[%s],"user":"ann 3"}}`, m2)
		wantEvents(t, a, event{EventState, state})
		if got, _ := json.Marshal(tr.List("room:1")); string(got) != state || string(tr.AppendList(nil, "room:1")) != state {
			t.Errorf("list %s and %s, want %s", got, tr.AppendList(nil, "room:1"), state)
		}

		second := n.join("room:1") // who joins after a state is asked about anew
		track(t, tr, second, "ann", struct{}{})
		d.wantAsked(t, "room:1 ann2")
		tr.Untrack(second, "ann")
		d.answer()
		wantEvents(t, a)
		tr.Untrack(a, "ann")
		wantEvents(t, a, event{EventDiff, fmt.Sprintf(`{"joins":{},"leaves":{"ann":{"metas":[%s],"user":"ann 4"}}}`, m2)})
		d.wantAsked(t)
		pushState(t, tr, a)
		wantEvents(t, a, event{EventState, "{}"})
		a.end()
		second.end()
		checkEmpty(t, tr)
	})
}

// TestFetchOrder: what changes during a call is told after it, and a state that was wanted during the call has exactly the
// diffs that were sent before it.
func TestFetchOrder(t *testing.T) {
	withDatabase(t, Options{}, func(t *testing.T, n *node, d *database, tr *Tracker) {
		a, b := n.join("room:1"), n.join("room:1")
		r1 := track(t, tr, a, "ann", struct{}{})
		d.wantAsked(t, "room:1 ann1")
		r2 := track(t, tr, b, "bob", struct{}{})
		gone := n.join("room:1")
		track(t, tr, gone, "cleo", struct{}{})
		gone.end()
		pushState(t, tr, b)
		d.wantAsked(t) // one call at a time
		d.answer()
		ann := fmt.Sprintf(`"ann":{"metas":[{"phx_ref":%q}],"user":"ann 1"}`, r1)
		wantEvents(t, a, event{EventDiff, fmt.Sprintf(`{"joins":{%s},"leaves":{}}`, ann)})
		d.wantAsked(t, "room:1 ann1 bob1")
		d.answer()
		bob := fmt.Sprintf(`"bob":{"metas":[{"phx_ref":%q}],"user":"bob 2"}`, r2)
		wantEvents(t, a, event{EventDiff, fmt.Sprintf(`{"joins":{%s},"leaves":{}}`, bob)})
		ann = strings.Replace(ann, "ann 1", "ann 2", 1)
		wantEvents(t, b,
			event{EventDiff, fmt.Sprintf(`{"joins":{%s},"leaves":{}}`, strings.Replace(ann, "ann 2", "ann 1", 1))},
			event{EventDiff, fmt.Sprintf(`{"joins":{%s},"leaves":{}}`, bob)},
			event{EventState, fmt.Sprintf(`{%s,%s}`, ann, bob)})
	})
}

// TestFetchForManyStates: states that are wanted at the same time share calls, and calls have a bound.
func TestFetchForManyStates(t *testing.T) {
	withDatabase(t, Options{}, func(t *testing.T, n *node, d *database, tr *Tracker) {
		tr.fetcher.keys = 2
		d.free = true
		var all []*channel
		for i := range 5 {
			c := n.join("room:1")
			track(t, tr, c, fmt.Sprint(i), struct{}{})
			synctest.Wait()
			all = append(all, c)
		}
		d.takeAsked()
		d.free = false
		for _, c := range all {
			c.take()
			pushState(t, tr, c)
			pushState(t, tr, c)
		}
		d.wantAsked(t, "room:1 01 11")
		d.answer()
		d.wantAsked(t, "room:1 21 31")
		d.answer()
		d.wantAsked(t, "room:1 41")
		d.answer()
		d.wantAsked(t)
		for _, c := range all {
			if got := c.take(); len(got) != 1 || got[0].name != EventState || strings.Count(got[0].payload, "user") != 5 {
				t.Errorf("got %q, want one state with all users", got)
			}
		}
	})
}

// TestFetchThatFails: whatever Fetch does, clients are told of keys and metas, and OnError of what was wrong.
func TestFetchThatFails(t *testing.T) {
	long := strings.Repeat("x", maxFetched)
	for name, test := range map[string]struct {
		fetch func(context.Context) (map[string]any, error)
		want  string
	}{
		"error":     {func(context.Context) (map[string]any, error) { return nil, errors.New("no database") }, "presence: Fetch: no database"},
		"panic":     {func(context.Context) (map[string]any, error) { panic("rude") }, "Fetch panicked: rude"},
		"exit":      {func(context.Context) (map[string]any, error) { runtime.Goexit(); return nil, nil }, "ended its goroutine"},
		"late":      {func(ctx context.Context) (map[string]any, error) { <-ctx.Done(); return nil, nil }, "took too long"},
		"no object": {func(context.Context) (map[string]any, error) { return map[string]any{"ann": 1, "bob": 1}, nil }, `value of key "ann": not a JSON object`},
		"no JSON":   {func(context.Context) (map[string]any, error) { return map[string]any{"ann": json.RawMessage(`{`)}, nil }, `value of key "ann": `},
		"too long": {func(context.Context) (map[string]any, error) {
			return map[string]any{"ann": map[string]any{"x": long}}, nil
		}, "more than 32768"},
	} {
		t.Run(name, func(t *testing.T) {
			var reported error
			fetch := func(ctx context.Context, _ string, _ map[string]Entry) (map[string]any, error) {
				return test.fetch(ctx)
			}
			o := Options{Fetch: fetch, OnError: func(_ string, err error) { reported = errors.Join(reported, err) }}
			withDatabase(t, o, func(t *testing.T, n *node, _ *database, tr *Tracker) {
				a := n.join("room:1")
				ref := track(t, tr, a, "ann", struct{}{})
				pushState(t, tr, a)
				pass(3 * defaultFetchTimeout)
				ann := fmt.Sprintf(`{"ann":{"metas":[{"phx_ref":%q}]}}`, ref)
				wantEvents(t, a, event{EventDiff, fmt.Sprintf(`{"joins":%s,"leaves":{}}`, ann)}, event{EventState, ann})
				if reported == nil || !strings.Contains(reported.Error(), test.want) {
					t.Errorf("reported %v, want %q", reported, test.want)
				}
			})
		})
	}
}

// TestFetchKeepsWhatItReturned: a call that fails takes nothing from keys, one that leaves them out does.
func TestFetchKeepsWhatItReturned(t *testing.T) {
	var answer func() (map[string]any, error)
	fetch := func(context.Context, string, map[string]Entry) (map[string]any, error) { return answer() }
	withDatabase(t, Options{Fetch: fetch}, func(t *testing.T, n *node, _ *database, tr *Tracker) {
		a := n.join("room:1")
		answer = func() (map[string]any, error) {
			return map[string]any{"ann": json.RawMessage(` {"a": 1, "metas": [], "b": 2} `), "other": 1}, nil
		}
		track(t, tr, a, "ann", struct{}{})
		synctest.Wait()
		want := func(want string) {
			t.Helper()
			a.take()
			pushState(t, tr, a)
			synctest.Wait()
			state := a.take()[0].payload
			if _, got, _ := strings.Cut(state, "]"); got != want {
				t.Errorf("behind the metas %s, want %s", got, want)
			}
		}
		want(`,"a":1,"b":2}}`)
		answer = func() (map[string]any, error) { return nil, errors.New("no database") }
		want(`,"a":1,"b":2}}`)
		answer = func() (map[string]any, error) { return map[string]any{"ann": (*struct{})(nil)}, nil }
		want(`}}`)
	})
}

// TestFetchAndWindow: Fetch is asked when the window has ended, and once for all in it.
func TestFetchAndWindow(t *testing.T) {
	withDatabase(t, Options{Window: window}, func(t *testing.T, n *node, d *database, tr *Tracker) {
		a, b := n.join("room:1"), n.join("room:1")
		track(t, tr, a, "ann", struct{}{})
		track(t, tr, b, "bob", struct{}{})
		d.wantAsked(t)
		pass(window)
		d.wantAsked(t, "room:1 ann1 bob1")
		track(t, tr, b, "cleo", struct{}{})
		d.answer()
		if diffs := n.takeDiffs(); len(diffs) != 1 || strings.Contains(diffs[0], "cleo") {
			t.Errorf("diffs %q, want one without cleo, whose window is open", diffs)
		}
		pass(window)
		d.wantAsked(t, "room:1 cleo1")
		d.answer()
		if diffs := n.takeDiffs(); len(diffs) != 1 || !strings.Contains(diffs[0], "cleo 2") {
			t.Errorf("diffs %q, want one with cleo", diffs)
		}
	})
}

// TestFetchAndHandleMetas: the program is told what clients are.
func TestFetchAndHandleMetas(t *testing.T) {
	var changes []string
	o := Options{HandleMetas: func(c Change) {
		joins, leaves := string(c.Joins["ann"].Fetched), string(c.Leaves["ann"].Fetched)
		changes = append(changes, joins+" "+leaves)
	}}
	withDatabase(t, o, func(t *testing.T, n *node, d *database, tr *Tracker) {
		d.free = true
		a := n.join("room:1")
		track(t, tr, a, "ann", struct{}{})
		synctest.Wait()
		a.end()
		synctest.Wait()
		if want := []string{`{"user":"ann 1"} `, ` {"user":"ann 1"}`}; !slices.Equal(changes, want) {
			t.Errorf("told %q, want %q", changes, want)
		}
	})
}

// TestFetchAndClose: Close waits neither for Fetch nor for its time to be over, and clients are told of what has waited.
func TestFetchAndClose(t *testing.T) {
	withDatabase(t, Options{}, func(t *testing.T, n *node, d *database, tr *Tracker) {
		a := n.join("room:1")
		ref := track(t, tr, a, "ann", struct{}{})
		pushState(t, tr, a)
		synctest.Wait()
		start := time.Now()
		tr.Close()
		if time.Since(start) > 0 {
			t.Error("Close has waited")
		}
		ann := fmt.Sprintf(`{"ann":{"metas":[{"phx_ref":%q}]}}`, ref)
		wantEvents(t, a, event{EventDiff, fmt.Sprintf(`{"joins":%s,"leaves":{}}`, ann)}, event{EventState, ann})
		if err := tr.PushState(a); !errors.Is(err, ErrClosed) {
			t.Errorf("state of a closed tracker: %v", err)
		}
	})
}

// TestFetchThatNeverReturns: calls that overstay keep their slots, so there are never more of them than slots; others go without.
func TestFetchThatNeverReturns(t *testing.T) {
	release := make(chan struct{})
	running := 0
	fetch := func(context.Context, string, map[string]Entry) (map[string]any, error) {
		running++
		<-release
		return nil, nil
	}
	withDatabase(t, Options{Fetch: fetch}, func(t *testing.T, n *node, _ *database, tr *Tracker) {
		release = make(chan struct{}) // of this bubble
		tr.fetcher.slots = make(chan struct{}, 1)
		for i := range 3 {
			track(t, tr, n.join(fmt.Sprint("room:", i)), "ann", struct{}{})
			synctest.Wait()
		}
		pass(defaultFetchTimeout)
		if diffs := n.takeDiffs(); len(diffs) != 3 || running != 1 {
			t.Errorf("%d diffs and %d calls, want 3 and 1", len(diffs), running)
		}
		close(release)
	})
}

// TestFetchInACluster: a node asks about what another node's clients have, and a node that goes down leaves at once, whatever
// Fetch is doing.
func TestFetchInACluster(t *testing.T) {
	withDatabase(t, Options{}, func(t *testing.T, n *node, d *database, tr *Tracker) {
		a := n.join("room:1")
		other := tr.NewReplica()
		other.Up()
		meta := `{"phx_ref":"0123456789abcdef"}`
		other.Join("room:1", "ann", meta)
		d.wantAsked(t, "room:1 ann1")
		d.answer()
		wantEvents(t, a, event{EventDiff, fmt.Sprintf(`{"joins":{"ann":{"metas":[%s],"user":"ann 1"}},"leaves":{}}`, meta)})

		ref := track(t, tr, a, "ann", struct{}{}) // the same user, here
		d.wantAsked(t, "room:1 ann2")
		other.Down()
		wantEvents(t, a, event{EventDiff, fmt.Sprintf(
			`{"joins":{"ann":{"metas":[{"phx_ref":%q}],"user":"ann 1"}},"leaves":{"ann":{"metas":[%s],"user":"ann 1"}}}`, ref, meta)})
		other.Up()
		d.answer() // for whatever joins under the key by then
		wantEvents(t, a, event{EventDiff, fmt.Sprintf(`{"joins":{"ann":{"metas":[%s],"user":"ann 2"}},"leaves":{}}`, meta)})
		d.wantAsked(t)
	})
}
