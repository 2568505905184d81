package channels

import (
	"time"

	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// joinTimers bound the joins of a loop that run on goroutines, with one timer
// for all of them, because hardly any join times out. Owned by the loop.
type joinTimers struct {
	first *pendingJoin
	timer *time.Timer // nil before the first join
	due   time.Time   // when timer fires; zero: not set
}

// add has p's join given up after limit.
func (t *joinTimers) add(l *netloop.Lane, p *pendingJoin, limit time.Duration) {
	p.deadline = time.Now().Add(limit)
	p.next = t.first
	if p.next != nil {
		p.next.prev = p
	}
	t.first = p
	t.arm(l, p.deadline)
}

// remove removes p, if it is there.
func (t *joinTimers) remove(p *pendingJoin) {
	if p.deadline.IsZero() {
		return
	}
	if p.prev != nil {
		p.prev.next = p.next
	} else {
		t.first = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	}
	p.prev, p.next, p.deadline = nil, nil, time.Time{}
}

// arm makes sure that the timer fires at the given time or before.
func (t *joinTimers) arm(l *netloop.Lane, at time.Time) {
	if !t.due.IsZero() && !at.Before(t.due) {
		return
	}
	t.due = at
	if t.timer == nil {
		t.timer = time.AfterFunc(time.Until(at), func() { l.Post(&joinSweep{t, l}) })
		return
	}
	t.timer.Reset(time.Until(at))
}

// joinSweep gives up the joins that take too long.
type joinSweep struct {
	timers *joinTimers
	loop   *netloop.Lane
}

// Run is for the loop.
func (s *joinSweep) Run() {
	t, now := s.timers, time.Now()
	t.due = time.Time{}
	var late []*Context
	for p := t.first; p != nil; p = p.next {
		if p.deadline.After(now) {
			t.arm(s.loop, p.deadline)
		} else {
			late = append(late, p.c)
		}
	}
	for _, c := range late {
		c.giveUpJoin(ErrJoinTimeout, reasonJoinTimeout)
	}
}
