package leaktest

import (
	"strings"
	"sync"
	"testing"
)

// Quiet checks counts of the whole process while tests run in parallel, none of
// which can tell its share. Whenever the last of the tests that run ends, all
// counts must be 0. A test that runs alone is therefore checked alone: run with
// -parallel 1 to find the one that leaks.
type Quiet struct {
	Counts []Count

	mu      sync.Mutex
	running int
	ended   []string // tests that have ended since the last check
}

// Watch counts t as running until its cleanup functions have run that are
// registered after this call.
func (q *Quiet) Watch(t testing.TB) {
	t.Helper()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running++
	t.Cleanup(func() { q.leave(t) })
}

func (q *Quiet) leave(t testing.TB) {
	t.Helper()
	q.mu.Lock() // until the counts are read, so that no other test begins
	defer q.mu.Unlock()
	q.running--
	q.ended = append(q.ended, t.Name())
	if q.running > 0 {
		return
	}
	for _, c := range q.Counts {
		if n := settled(c.Live); n != 0 {
			t.Errorf("%s left: %d, by one of the tests %s", c.Name, n, strings.Join(q.ended, ", "))
		}
	}
	q.ended = nil
}
