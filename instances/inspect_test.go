package instances_test

import (
	"testing"

	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/instances"
)

// TestSurvey: a glance agrees with the closer look.
func TestSurvey(t *testing.T) {
	s := start(t, instances.Options{})
	s.create(t, instances.Spec{ID: "a", Type: "counter"})
	s.create(t, instances.Spec{ID: "b", Type: "counter"})
	channelstest.Connect(t, s.endpoint, "/socket/a").Join("counter", nil)
	if _, err := s.Signal(t.Context(), "b", "panic", nil); err == nil {
		t.Fatal("a panic was answered")
	}
	waitFor(t, "b to be restarted", func() bool {
		i, err := s.Get("b")
		stats, _ := s.Stats("b")
		return err == nil && i.State == instances.Running && stats.Restarts == 1
	})
	seen := s.Survey()
	if len(seen) != 2 {
		t.Fatalf("%d instances: %+v", len(seen), seen)
	}
	for _, g := range seen {
		want, err := s.Stats(g.ID)
		if err != nil {
			t.Fatal(err)
		}
		if want.Connections != map[string]int64{"a": 1}[g.ID] || want.Crashes != map[string]int64{"b": 1}[g.ID] {
			t.Errorf("%s: %+v", g.ID, want)
		}
		want.Topics, want.Leaked, want.Goroutines, want.Uptime = 0, 0, 0, 0
		if g.Type != "counter" || g.State != instances.Running || g.Declared || g.Stats != want {
			t.Errorf("%s: %+v, want %+v", g.ID, g, want)
		}
	}
}
