package main

import (
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/events"
	"github.com/mycelium-rt/mycelium/internal/webhook"
)

// TestTellingIsCountedAfterTheEnd: what hooks were told still counts when they have been replaced, or their instance has
// ended.
func TestTellingIsCountedAfterTheEnd(t *testing.T) {
	stream := func(instance string, stored, delivered uint64) events.StreamStats {
		var d webhook.Histogram
		for range delivered {
			d.Observe(time.Second)
		}
		return events.StreamStats{Instance: instance, Stored: stored, Bytes: 10, Hooks: []events.HookStats{
			{Instance: instance, Hook: "app", Delivered: delivered, Requests: delivered, Waiting: 1, Lag: time.Second, Durations: &d},
		}}
	}
	var f toldFigures
	for i, c := range []struct {
		streams                    []events.StreamStats
		delivered, stored, waiting int64
	}{
		{[]events.StreamStats{stream("a", 5, 3), stream("b", 7, 4)}, 7, 12, 2},
		{[]events.StreamStats{stream("a", 6, 5), stream("b", 7, 4)}, 9, 13, 2},
		{[]events.StreamStats{stream("b", 8, 5)}, 10, 14, 1},                    // a has ended
		{[]events.StreamStats{stream("b", 9, 1)}, 11, 15, 1},                    // the hook of b is another
		{[]events.StreamStats{stream("a", 1, 0), stream("b", 9, 1)}, 11, 16, 2}, // a is there again
		{nil, 11, 16, 0},
		{nil, 11, 16, 0},
	} {
		told, all := f.read(func() []events.StreamStats { return c.streams })
		if len(told) != 1 || told[0].Hook != otherHooks || all.Stored != c.stored {
			t.Fatalf("%d: %+v, %+v", i, told, all)
		}
		var observed int64
		for _, n := range told[0].Durations.Buckets {
			observed += n
		}
		if h := told[0]; h.Delivered != c.delivered || h.Requests != c.delivered || h.Waiting != c.waiting || observed != c.delivered {
			t.Errorf("%d: %+v, want %d delivered and %d waiting", i, h, c.delivered, c.waiting)
		}
	}
}
