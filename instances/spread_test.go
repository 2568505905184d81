package instances_test

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/pubsub"
)

// onBuses starts a manager with a type that spreads over the nodes that bus connects.
func onBuses(t *testing.T, bus func(id string) pubsub.Bus) *server {
	t.Helper()
	s := start(t, instances.Options{Bus: bus})
	s.Register(instances.Define("spread", "Counts on all nodes.", newCounter).Spread())
	return s
}

func (s *server) declare(t *testing.T, spec instances.Spec) {
	t.Helper()
	if i, err := s.Declare(t.Context(), spec); err != nil || i.State != instances.Running {
		t.Fatalf("declaring %s: %+v, %v", spec.ID, i, err)
	}
}

// TestSpread: declared instances of a type that spreads have a bus, in every life; no others have.
func TestSpread(t *testing.T) {
	hub := pubsub.NewHub()
	var mu sync.Mutex
	var asked []string
	bus := func(id string) pubsub.Bus {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, id)
		return hub.Node()
	}
	a, b := onBuses(t, bus), onBuses(t, bus)
	for _, s := range []*server{a, b} {
		s.declare(t, instances.Spec{ID: "one", Type: "spread", Config: json.RawMessage(`{"step":2}`)})
		s.declare(t, instances.Spec{ID: "single", Type: "counter"})
		s.create(t, instances.Spec{ID: "created", Type: "spread"})
		if err := s.Check(instances.Spec{ID: "one", Type: "spread"}); err != nil {
			t.Error(err)
		}
	}
	if mu.Lock(); !slices.Equal(asked, []string{"one", "one"}) {
		t.Errorf("asked for the buses of %v, want of one on each node", asked)
	}
	mu.Unlock()
	reaches := func() {
		t.Helper()
		there := channelstest.Connect(t, b.endpoint, "/socket/one").Join("counter", nil)
		if err := a.Broadcast("one", "counter", "hello", json.RawMessage(`{}`)); err != nil {
			t.Fatal(err)
		}
		there.AssertBroadcast("hello", struct{}{})
	}
	reaches()
	// Another life: its bus is open before that of the last one is closed.
	a.declare(t, instances.Spec{ID: "one", Type: "spread", Config: json.RawMessage(`{"step":3,"every":"1h"}`)})
	reaches()
}
