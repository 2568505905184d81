package pubsub_test

import (
	"errors"
	"testing"

	"github.com/mycelium-rt/mycelium/pubsub"
	"github.com/mycelium-rt/mycelium/pubsub/pubsubtest"
)

func TestHub(t *testing.T) {
	pubsubtest.Run(t, func(t *testing.T) (a, b pubsub.Bus) {
		hub := pubsub.NewHub()
		return hub.Node(), hub.Node()
	})
}

// TestHubBetweenOthers runs the suite in a hub where further nodes come and go.
func TestHubBetweenOthers(t *testing.T) {
	pubsubtest.Run(t, func(t *testing.T) (a, b pubsub.Bus) {
		var hub pubsub.Hub
		a = hub.Node()
		for range 3 {
			other := hub.Node()
			if err := other.Open(func(string, []byte) {}); err != nil {
				t.Fatal(err)
			}
			other.Interest("x", true)
			other.Interest("steady", true)
			t.Cleanup(func() { other.Close() })
		}
		return a, hub.Node()
	})
}

func TestHubOpen(t *testing.T) {
	bus := pubsub.NewHub().Node()
	ignore := func(string, []byte) {}
	if err := bus.Open(ignore); err != nil {
		t.Fatal(err)
	}
	if err := bus.Open(ignore); err == nil {
		t.Fatal("opened twice")
	}
	if err := bus.Close(); err != nil {
		t.Fatal(err)
	}
	if err := bus.Open(ignore); !errors.Is(err, pubsub.ErrClosed) {
		t.Fatalf("open after close: %v", err)
	}
}
