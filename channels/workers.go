package channels

import "sync"

// workers are the goroutines that run jobs that may block. A goroutine for each join and each event would cost a new
// stack, which grows and is copied, and a turn of the scheduler. So a goroutine that has finished its job takes the
// next waiting one. Before it begins a job, it makes sure that another goroutine exists for the jobs behind it. No
// goroutine is idle.
//
// Invariant: while a job waits, a goroutine has been started that has not taken a job yet.
type workers struct {
	mu    sync.Mutex
	jobs  []job // jobs before next have been taken
	next  int
	fresh bool // a goroutine exists that has not taken a job yet
}

// job is what a worker does. it is memory for a message, which the worker reuses.
type job interface{ do(it *item) }

// jobFunc is a job that is rare enough for a closure.
type jobFunc func()

func (f jobFunc) do(*item) { f() }

// manyJobs is the capacity above which an empty queue is dropped, because it grew in a storm.
const manyJobs = 4096

// putJob queues j, and reports whether the caller must start a goroutine.
func (w *workers) putJob(j job) (start bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next > 0 && len(w.jobs) == cap(w.jobs) {
		n := copy(w.jobs, w.jobs[w.next:])
		clear(w.jobs[n:])
		w.jobs, w.next = w.jobs[:n], 0
	}
	w.jobs = append(w.jobs, j)
	start = !w.fresh
	w.fresh = true
	return start
}

// takeJob returns the next job, nil if there is none, and whether the caller must start a goroutine for the jobs behind
// it. fresh means that it is the caller's first.
func (w *workers) takeJob(fresh bool) (j job, start bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if fresh {
		w.fresh = false
	}
	if w.next == len(w.jobs) {
		w.jobs, w.next = w.jobs[:0], 0
		if cap(w.jobs) > manyJobs {
			w.jobs = nil
		}
		return nil, false
	}
	j = w.jobs[w.next]
	w.jobs[w.next] = nil
	w.next++
	start = !w.fresh && w.next < len(w.jobs)
	w.fresh = w.fresh || start
	return j, start
}

// spawn runs j on a goroutine that Shutdown waits for.
func (e *Endpoint) spawn(j job) {
	e.callbacks.Add(1)
	if e.workers.putJob(j) {
		go e.workJobs()
	}
}

// workJobs runs jobs until none waits.
func (e *Endpoint) workJobs() {
	var it item
	j, start := e.workers.takeJob(true)
	for j != nil {
		if start {
			go e.workJobs()
		}
		e.doJob(j, &it)
		j, start = e.workers.takeJob(false)
	}
}

// doJob runs j, and counts it as over even if it ends the goroutine (runtime.Goexit).
func (e *Endpoint) doJob(j job, it *item) {
	defer e.callbacks.Add(-1)
	j.do(it)
	*it = item{}
}
