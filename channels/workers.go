package channels

import "sync"

// workers are the goroutines that run what may block. A goroutine of its own for each join and each event costs a new stack
// that grows and is copied, and a turn of the scheduler. So one that comes to the end of its job takes the next that waits;
// and before it begins one, it sees to it that another goroutine is there for those behind it. None is idle.
//
// Invariant: while a job waits, a goroutine has been started that has not taken one yet.
type workers struct {
	mu    sync.Mutex
	jobs  []job // those before next are taken
	next  int
	fresh bool // there is a goroutine that has not taken a job yet
}

// job is what a worker does. it is room for a message, which the worker uses again.
type job interface{ do(it *item) }

// jobFunc is a job that is seldom enough for a closure.
type jobFunc func()

func (f jobFunc) do(*item) { f() }

// manyJobs is the capacity from which on an empty queue is thrown away: it grew in a storm.
const manyJobs = 4096

// putJob queues j, and reports whether a goroutine has to be started.
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

// takeJob returns the next job, nil if there is none, and whether a goroutine has to be started for those behind it. fresh
// says that it is the caller's first.
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

// spawn has j done by a goroutine that Shutdown waits for.
func (e *Endpoint) spawn(j job) {
	e.callbacks.Add(1)
	if e.workers.putJob(j) {
		go e.workJobs()
	}
}

// workJobs is what such a goroutine does.
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

// doJob counts j as over even if it ends the goroutine (runtime.Goexit).
func (e *Endpoint) doJob(j job, it *item) {
	defer e.callbacks.Add(-1)
	j.do(it)
	*it = item{}
}
