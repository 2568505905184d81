package instances_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/internal/linktest"
)

// trims is a history.Durable that stores nothing. It notes which spaces it is told to remove, and
// keeps the last entry.
type trims struct {
	mu     sync.Mutex
	spaces []string
	entry  []byte
}

func (d *trims) Open() {}

func (d *trims) Append(_, _ string, entry []byte, done func(error)) {
	d.entry = entry
	done(nil)
}

func (d *trims) Trim(space, topic string, _ uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if topic == "" {
		d.spaces = append(d.spaces, space)
	}
}

func (d *trims) Remove(_, _ string, which func() (number uint64, exactly bool)) error {
	which()
	return nil
}

func (d *trims) removed() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.spaces)
}

func durableHistory(t *testing.T) (*history.Store, *trims) {
	d := new(trims)
	h := history.NewStore(history.Options{})
	h.Persist(d)
	t.Cleanup(h.Close)
	return h, d
}

// TestDeleteOfAStoppedInstance: what an instance has stored is removed with it, also if it has
// not run since the server started.
func TestDeleteOfAStoppedInstance(t *testing.T) {
	store := new(instances.Memory)
	const record = `{"spec":{"id":"a","type":"counter","history":[{"durable":true}]},"created":"2026-01-02T03:04:05Z","stopped":true}`
	if _, err := store.Put(t.Context(), "spec.a", []byte(record), 0); err != nil {
		t.Fatal(err)
	}
	h, d := durableHistory(t)
	s := start(t, instances.Options{Store: store, History: h})
	if err := s.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "a", instances.AnyRevision); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the stored messages to be removed", func() bool { return slices.Equal(d.removed(), []string{"a"}) })
}

// TestHistoryOfAnInstanceThatIsNotKnownYet: a node that fails to learn of an instance, or to
// create another with its id, leaves alone what the instance has stored.
func TestHistoryOfAnInstanceThatIsNotKnownYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, d := durableHistory(t)
		link := linktest.New(new(instances.Memory))
		link.SetCut(true)
		s := start(t, instances.Options{Store: link, Node: "b", History: h})
		if err := s.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.Open("a") // as the first stored message does
		keep := func(*instances.Spec) error { return nil }
		if _, err := s.Update(t.Context(), "a", instances.AnyRevision, keep); !errors.Is(err, instances.ErrUnreachable) {
			t.Errorf("a change: %v", err)
		}
		if _, _, err := s.Create(t.Context(), instances.Spec{ID: "a", Type: "counter"}); !errors.Is(err, instances.ErrUnreachable) {
			t.Errorf("creating another: %v", err)
		}
		if removed := d.removed(); len(removed) > 0 {
			t.Errorf("removed what %v have stored", removed)
		}
		link.SetCut(false)
		s.close(t)()
		link.WaitLate()
	})
}

// TestCreateAfterAKill: what a deleted instance has left in the store, because the server was
// killed before it was removed, is not in the history of the next one with its id.
func TestCreateAfterAKill(t *testing.T) {
	h, d := durableHistory(t)
	rule := []history.Rule{{Durable: true}}
	other, err := h.Space("other", rule)
	if err != nil {
		t.Fatal(err)
	}
	other.Append("room:1", &history.Message{Event: "secret", Payload: []byte("{}")}, func(error) {})
	h.BindStream(1)
	for i, id := range []string{"a", "declared"} {
		if err := h.ApplyStored(id, "room:1", uint64(i+1), time.Now(), d.entry); err != nil {
			t.Fatal(err)
		}
	}
	h.SetLoaded(2)
	s := start(t, instances.Options{History: h})
	spec := instances.Spec{ID: "declared", Type: "counter", History: []instances.HistoryRule{{Durable: true}}}
	if _, err := s.Declare(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	spec.ID = "a"
	s.create(t, spec)
	for id, want := range map[string]int{"a": 0, "declared": 1} {
		sp, err := s.History(t.Context(), id, "room:1")
		if err != nil {
			t.Fatal(err)
		}
		if n := len(sp.Page("room:1", history.Ask{}).Messages); n != want {
			t.Errorf("%s has %d messages, want %d", id, n, want)
		}
	}
	if removed := d.removed(); !slices.Equal(removed, []string{"a"}) {
		t.Errorf("removed what %v have stored", removed)
	}
}
