package channels

import (
	"runtime"
	"slices"
	"sync"
	"testing"
)

// No job waits for another, however many block and wherever they stand, and none is lost behind one that ends its goroutine.
func TestWorkersWaitForNobody(t *testing.T) {
	e := &Endpoint{}
	const jobs = 200
	for round := range 3 {
		var begun, over sync.WaitGroup
		begun.Add(jobs)
		for i := range jobs {
			over.Add(1)
			e.spawn(jobFunc(func() {
				defer over.Done()
				begun.Done()
				begun.Wait()
				if (i+round)%3 == 0 {
					runtime.Goexit()
				}
			}))
		}
		over.Wait()
	}
	for e.callbacks.Load() != 0 {
		runtime.Gosched()
	}
	checkIdle(t, e)
}

// The goroutine of a job that is over does the next: a storm of short ones needs few, and leaves none.
func TestWorkersShareGoroutines(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	e := &Endpoint{}
	const jobs = 2 * manyJobs
	var over sync.WaitGroup
	seen := make([]int, jobs)
	for i := range jobs {
		over.Add(1)
		e.spawn(jobFunc(func() {
			seen[i] = runtime.NumGoroutine()
			over.Done()
		}))
	}
	over.Wait()
	if n := slices.Max(seen); n > jobs/20 { // some, because a job may be preempted
		t.Errorf("%d goroutines for %d short jobs", n, jobs)
	}
	checkIdle(t, e)
}

// checkIdle waits until no goroutine looks for a job, and checks that what the jobs needed is free.
func checkIdle(t *testing.T, e *Endpoint) {
	t.Helper()
	w := &e.workers
	for {
		w.mu.Lock()
		idle := !w.fresh
		queued, room := len(w.jobs)-w.next, cap(w.jobs)
		w.mu.Unlock()
		if !idle {
			runtime.Gosched()
			continue
		}
		if queued != 0 || room > manyJobs {
			t.Errorf("%d jobs are left in a queue for %d", queued, room)
		}
		return
	}
}
