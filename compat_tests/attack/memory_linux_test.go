package attack

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// watchMemory samples the server's memory until stop is called. most is the largest
// sample.
func (v *victim) watchMemory(t *testing.T) (most *atomic.Int64, stop func()) {
	most = new(atomic.Int64)
	done := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			most.Store(max(most.Load(), v.resident(t)))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	return most, func() {
		close(done)
		watcher.Wait()
	}
}
