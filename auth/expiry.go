package auth

import (
	"container/heap"
	"sync"
	"time"
)

// expiry warns sockets before their tokens expire, and then closes them. It has
// one timer for all sockets, and a heap entry for each.
type expiry struct {
	warning time.Duration // static

	mu    sync.Mutex
	queue expiryQueue
	timer *time.Timer // nil until there is something to wait for
}

const (
	// expiryBatch is how many sockets are handled under one hold of the lock,
	// for which sockets that open and close wait.
	expiryBatch = 256
	// expiryPatience bounds how long the timer sleeps, because tokens expire by
	// the wall clock, which may be set.
	expiryPatience = time.Minute
)

// watchSession starts watching a session.
func (e *expiry) watchSession(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s.open = true
	e.schedule(s)
}

// unwatchSession stops watching a session.
func (e *expiry) unwatchSession(s *session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s.open = false
	e.removeFromQueue(s)
}

// renew reschedules a session that has a new grant.
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

// schedule puts a session into the queue by the end of its grant. Even a
// warning that is due now is left to the timer, because the socket has not
// joined anything yet.
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

// firstWarning is how long a client has to join before it is warned for the
// first time.
const firstWarning = time.Second

// setTimer sets the timer for the first session in the queue.
func (e *expiry) setTimer() {
	d := min(max(0, time.Until(e.queue[0].due)), expiryPatience)
	if e.timer == nil {
		e.timer = time.AfterFunc(d, e.run)
		return
	}
	e.timer.Reset(d)
}

// run is called by the timer.
func (e *expiry) run() {
	for e.runBatch() {
	}
}

// runBatch handles some of the sessions that are due, and reports whether there
// are more.
func (e *expiry) runBatch() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now().Round(0) // wall clock, as for the expiry of tokens
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

// expiryQueue is a heap.Interface, ordered by due time.
type expiryQueue []*session

// Len implements heap.Interface.
func (q expiryQueue) Len() int { return len(q) }

// Less implements heap.Interface.
func (q expiryQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }

// Swap implements heap.Interface.
func (q expiryQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push implements heap.Interface.
func (q *expiryQueue) Push(x any) {
	s := x.(*session)
	s.place = len(*q)
	*q = append(*q, s)
}

// Pop implements heap.Interface.
func (q *expiryQueue) Pop() any {
	last := len(*q) - 1
	s := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	s.place = -1
	return s
}
