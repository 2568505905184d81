package instances_test

import (
	"reflect"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/presence"
)

// TestTotals: by type, and what was counted stays when an instance has gone.
func TestTotals(t *testing.T) {
	s := start(t, instances.Options{})
	s.Register(instances.Define("idle", "Does nothing.", func(*instances.Instance, struct{}) (instances.Logic, error) { return idle{}, nil }))
	for _, id := range []string{"a", "b"} {
		s.create(t, instances.Spec{ID: id, Type: "counter"})
		channelstest.Connect(t, s.endpoint, "/socket/"+id).Join("counter", nil)
	}
	if _, err := s.Signal(t.Context(), "b", "panic", nil); err == nil {
		t.Error("a panic was answered")
	}
	waitFor(t, "b to be restarted", func() bool {
		i, err := s.Get("b")
		total := s.Totals()[0]
		return err == nil && i.State == instances.Running && total.Restarts == 1 && total.Stats.Sockets == 1
	})
	total := s.Totals()
	if len(total) != 2 || total[0].Type != "counter" || total[1].Type != "idle" {
		t.Fatalf("totals: %+v", total)
	}
	if want := map[instances.State]int{instances.Running: 2}; !reflect.DeepEqual(total[0].Instances, want) || len(total[1].Instances) != 0 {
		t.Errorf("states: %v and %v, want %v and none", total[0].Instances, total[1].Instances, want)
	}
	counted := total[0].Stats
	if total[0].Crashes != 1 || counted.Opened != 2 || counted.Channels != 1 || counted.MessagesIn != 2 {
		t.Errorf("%+v", total[0])
	}
	for _, id := range []string{"a", "b"} {
		if err := s.Delete(t.Context(), id, instances.AnyRevision); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "both to be gone", func() bool { return len(s.Totals()[0].Instances) == 0 })
	after := s.Totals()[0]
	if after.Crashes != 1 || after.Restarts != 1 || after.Stats.Opened != 2 || after.Stats.MessagesIn != 2 ||
		after.Stats.MessagesOut < counted.MessagesOut || after.Stats.Sockets != 0 || after.Stats.Channels != 0 || after.Presence != (presence.Stats{}) {
		t.Errorf("after both have gone: %+v", after)
	}
}

// TestTotalsOfRefusedSpecs: what its type or Options.Sockets refuses is of no type.
func TestTotalsOfRefusedSpecs(t *testing.T) {
	s := start(t, instances.Options{})
	if _, _, err := s.Create(t.Context(), instances.Spec{ID: "a", Type: "counter", Auth: []byte(`{}`)}); err == nil {
		t.Fatal("auth was taken where there is none")
	}
	for _, total := range s.Totals() {
		if total.Type != "counter" {
			t.Errorf("a total of %q", total.Type)
		}
	}
}

// idle is the least logic.
type idle struct{}

func (idle) Channels() []*channels.Channel { return nil }
