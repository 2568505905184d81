package auth

import (
	"container/heap"
	"sync"
	"time"
)

// expiry warns sockets of the end of their tokens and ends them: with one timer
// for all, and an entry of a heap for each.
type expiry struct {
	warning time.Duration // static

	mu    sync.Mutex
	queue expiryQueue
	timer *time.Timer // nil until there is something to wait for
}

const (
	// expiryBatch is how many sockets are seen to at a time: those that open and
	// close meanwhile wait for as long.
	expiryBatch = 256
	// expiryPatience bounds how long the timer sleeps, because the clock on the
	// wall, which tokens go by, may be set.
	expiryPatience = time.Minute
)

// watchSession begins to watch over a session.
func (e *expiry) watchSession(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s.open = true
	e.schedule(s)
}

// unwatchSession ends it.
func (e *expiry) unwatchSession(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s.open = false
	e.removeFromQueue(s)
}

// renew is for a session that has a new grant.
func (e *expiry) renew(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.open {
		e.removeFromQueue(s)
		e.schedule(s)
	}
}

func (e *expiry) removeFromQueue(s *session) {
	if s.place < 0 {
		return
	}
	heap.Remove(&e.queue, s.place)
	if len(e.queue) == 0 {
		e.timer.Stop()
	}
}

// schedule puts a session into the queue by the end of its grant. Even a warning
// that is due is left to the timer: the socket joins nothing before its first
// turn is over.
func (e *expiry) schedule(s *session) {
	ends := s.grant.Load().ends
	if ends.IsZero() {
		return
	}
	s.due = ends.Add(-e.warning)
	if soonest := time.Now().Round(0).Add(firstWarning); s.due.Before(soonest) {
		s.due = soonest
		if ends.Before(soonest) {
			s.due = ends
		}
	}
	heap.Push(&e.queue, s)
	if s.place == 0 {
		e.setTimer()
	}
}

// firstWarning is how long a client has to join before it is warned the first
// time.
const firstWarning = time.Second

// setTimer sets the timer to the first that is due.
func (e *expiry) setTimer() {
	d := min(max(0, time.Until(e.queue[0].due)), expiryPatience)
	if e.timer == nil {
		e.timer = time.AfterFunc(d, e.run)
		return
	}
	e.timer.Reset(d)
}

// run is for the timer.
func (e *expiry) run() {
	for e.runBatch() {
	}
}

// runBatch sees to some of what is due, and reports whether there is more.
func (e *expiry) runBatch() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now().Round(0) // of the clock on the wall, as the ends of tokens are
	for range expiryBatch {
		if len(e.queue) == 0 {
			return false
		}
		if e.queue[0].due.After(now) {
			e.setTimer()
			return false
		}
		s := heap.Pop(&e.queue).(*session)
		if s.due = s.act(now, e.warning); !s.due.IsZero() {
			heap.Push(&e.queue, s)
		}
	}
	return true
}

// expiryQueue is a heap.Interface: what is due first is first.
type expiryQueue []*session

// Len is heap.Interface's.
func (q expiryQueue) Len() int { return len(q) }

// Less is heap.Interface's.
func (q expiryQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

// Swap is heap.Interface's.
func (q expiryQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push is heap.Interface's.
func (q *expiryQueue) Push(x any) {
	s := x.(*session)
	s.place = len(*q)
	*q = append(*q, s)
}

// Pop is heap.Interface's.
func (q *expiryQueue) Pop() any {
	last := len(*q) - 1
	s := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	s.place = -1
	return s
}
