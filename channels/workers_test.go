package channels

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
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

// The context is the one of context.WithTimeout to whoever looks at it.
func TestLateTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deadline := time.Now().Add(time.Second)
		if d, ok := (&lateTimeout{deadline: deadline}).Deadline(); !ok || !d.Equal(deadline) {
			t.Errorf("the deadline is %v, %v", d, ok)
		}
		expires := &lateTimeout{deadline: deadline}
		child, stop := context.WithCancel(expires)
		defer stop()
		if err := child.Err(); err != nil {
			t.Error(err)
		}
		<-child.Done()
		if err := context.Cause(child); err != context.DeadlineExceeded || time.Now().Before(deadline) {
			t.Errorf("%v at %v", err, time.Until(deadline))
		}
		if err := (&lateTimeout{deadline: deadline}).Err(); err != context.DeadlineExceeded {
			t.Errorf("looked at too late: %v", err)
		}
		for _, before := range []bool{false, true} {
			ended := &lateTimeout{deadline: time.Now().Add(time.Second)}
			if before {
				ended.Done()
			}
			ended.end()
			select {
			case <-ended.Done():
			default:
				t.Error("Connect is over, and its context is not done")
			}
			if err := ended.Err(); err != context.Canceled {
				t.Error(err)
			}
		}
	})
}
