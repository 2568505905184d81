package instances_test

import (
	"fmt"
	"testing"

	"github.com/mycelium-rt/mycelium/instances"
)

// crowd makes instances that nobody uses.
func crowd(b *testing.B, n int) *server {
	b.Helper()
	s := start(b, instances.Options{})
	s.Register(instances.Define("idle", "Does nothing.", func(*instances.Instance, struct{}) (instances.Logic, error) { return idle{}, nil }))
	for i := range n {
		s.create(b, instances.Spec{ID: fmt.Sprintf("i%d", i), Type: "idle"})
	}
	return s
}

// BenchmarkLooking is what those cost who look at all instances: /metrics, and
// the observer once a second.
func BenchmarkLooking(b *testing.B) {
	s := crowd(b, 2000)
	b.Run("totals", func(b *testing.B) {
		for b.Loop() {
			s.Totals()
		}
	})
	b.Run("survey", func(b *testing.B) {
		for b.Loop() {
			s.Survey()
		}
	})
}
