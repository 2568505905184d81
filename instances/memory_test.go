package instances_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/relay"
	"github.com/mycelium-rt/mycelium/internal/race"
)

// emptyBudget is what an instance without clients may hold in memory, its
// goroutines included: a server has thousands of them.
const emptyBudget = 9<<10 + 512

// TestMemoryOfEmptyInstances makes two thousand.
func TestMemoryOfEmptyInstances(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector changes what memory costs")
	}
	const n = 2000
	e, err := channels.NewEndpoint(channels.Options{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	m := instances.New(e, instances.Options{})
	m.Register(relay.Type())
	before := inUse()
	began := time.Now()
	for i := range n {
		if _, _, err := m.Create(t.Context(), instances.Spec{ID: fmt.Sprint("i", i), Type: "relay"}); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(began)
	heap, stacks := inUse().since(before)
	t.Logf("%d instances: %d bytes of heap and %d of stacks each, %d goroutines in all, %.0f created a second",
		n, heap/n, stacks/n, runtime.NumGoroutine(), n/took.Seconds())
	if each := (heap + stacks) / n; each > emptyBudget {
		t.Errorf("%d bytes an empty instance, at most %d are meant", each, emptyBudget)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began = time.Now()
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
	t.Logf("closed in %v", time.Since(began))
	if err := e.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

type memory struct{ heap, stacks uint64 }

func inUse() memory {
	var s runtime.MemStats
	for range 3 { // what was pooled goes with the second
		runtime.GC()
	}
	runtime.ReadMemStats(&s)
	return memory{s.HeapAlloc, s.StackInuse}
}

func (m memory) since(before memory) (heap, stacks int64) {
	return int64(m.heap) - int64(before.heap), int64(m.stacks) - int64(before.stacks)
}
