package presence

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// shown is a change in short: key and how many metas, of joins and of leaves.
func shown(c Change) string {
	show := func(entries map[string]Entry) (keys []string) {
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			keys = append(keys, fmt.Sprint(key, len(entries[key].Metas)))
		}
		return keys
	}
	return fmt.Sprintf("%s +%v -%v", c.Topic, show(c.Joins), show(c.Leaves))
}

func TestHandleMetas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var changes []Change
		busy := make(chan struct{})
		n := newNode()
		var tr *Tracker
		tr = newTracker(t, n, Options{
			Diffs: func(topic string) bool { return topic != "silent" },
			HandleMetas: func(c Change) {
				changes = append(changes, c)
				tr.Count(c.Topic) // the tracker may be asked
				<-busy
			},
		})
		a, b, silent := n.join("room:1"), n.join("room:1"), n.join("silent")
		first := track(t, tr, a, "ann", struct{}{})
		synctest.Wait() // it is being told

		second := update(t, tr, a, "ann", struct{}{})
		track(t, tr, b, "bob", struct{}{})
		track(t, tr, b, "cleo", struct{}{})
		track(t, tr, silent, "dan", struct{}{})
		tr.Untrack(b, "bob") // came and went
		third := update(t, tr, a, "ann", struct{}{})
		busy <- struct{}{}
		close(busy)
		synctest.Wait()
		var got []string
		for _, c := range changes {
			got = append(got, shown(c))
		}
		want := []string{"room:1 +[ann1] -[]", "room:1 +[ann1 cleo1] -[ann1]", "silent +[dan1] -[]"}
		if !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
		joined, left := changes[1].Joins["ann"].Metas[0], changes[1].Leaves["ann"].Metas[0]
		if joined.Ref != third || joined.PrevRef != second || left.Ref != first {
			t.Errorf("the update of ann: %+v behind %+v", joined, left)
		}
		changes = nil
		a.end()
		synctest.Wait()
		if len(changes) != 1 || shown(changes[0]) != "room:1 +[] -[ann1]" {
			t.Errorf("the end of a channel: %v", changes)
		}
		if n := len(tr.watch.waiting) + tr.watch.queue.Len(); n != 0 {
			t.Errorf("%d changes are kept", n)
		}
	})
}

// Close returns when HandleMetas has been told of all.
func TestHandleMetasBeforeClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		n := newNode()
		tr := newTracker(t, n, Options{Window: window, HandleMetas: func(c Change) { pass(window); told += len(c.Joins) }})
		for i := range 10 {
			track(t, tr, n.join(fmt.Sprint("room:", i)), "ann", struct{}{})
		}
		tr.Close()
		if told != 10 {
			t.Errorf("told of %d, want 10", told)
		}
	})
}

// A HandleMetas that fails is told of the next change all the same.
func TestHandleMetasThatFails(t *testing.T) {
	for name, fault := range map[string]func(){"panic": func() { panic("rude") }, "exit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				var reported error
				n := newNode()
				tr := newTracker(t, n, Options{
					HandleMetas: func(Change) { calls++; fault() },
					OnError:     func(_ string, err error) { reported = errors.Join(reported, err) },
				})
				c := n.join("room:1")
				for i := range 3 {
					track(t, tr, c, fmt.Sprint(i), struct{}{})
					synctest.Wait()
				}
				tr.Close()
				if calls != 3 {
					t.Errorf("%d calls, want 3", calls)
				}
				if name == "panic" && (reported == nil || !strings.Contains(reported.Error(), "HandleMetas panicked: rude")) {
					t.Errorf("reported: %v", reported)
				}
			})
		})
	}
}
