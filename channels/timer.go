package channels

import (
	"slices"
	"time"
)

// Timer is a message of [Context.SendAfter] that has not been sent yet.
type Timer struct {
	// Static after construction.
	c       *Context
	due     time.Time
	message any
}

// timers holds the timers of one channel that have not fired, with one timer of
// the runtime for all of them, because the runtime fires its timers in any
// order.
type timers struct {
	waiting []*Timer    // ordered by due, then as they were set
	wake    *time.Timer // fires when the first is due or earlier
}

// SendAfter sends msg to the channel itself after d, even if its mailbox is
// full. The message is dropped if the channel has ended by then. Timers fire in
// the order in which they are due, and those due at the same time in the order
// in which they were set.
func (c *Context) SendAfter(d time.Duration, msg any) *Timer {
	t := &Timer{c: c, due: time.Now().Add(d), message: msg}
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if c.life.cause != nil {
		return t
	}
	x := c.rareLocked()
	if x.timers == nil {
		x.timers = new(timers)
	}
	x.timers.add(t)
	return t
}

// Stop cancels the timer. It reports false if the message has been sent, the
// timer was stopped before, or the channel has ended.
func (t *Timer) Stop() bool {
	c := t.c
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	x := c.extras
	return x != nil && x.rare != nil && x.rare.timers != nil && x.rare.timers.remove(t)
}

func (q *timers) add(t *Timer) {
	at, _ := slices.BinarySearchFunc(q.waiting, t, func(other, t *Timer) int {
		if other.due.After(t.due) {
			return 1
		}
		return -1
	})
	q.waiting = slices.Insert(q.waiting, at, t)
	if at > 0 {
		return
	}
	if q.wake == nil {
		q.wake = time.AfterFunc(time.Until(t.due), t.c.sendDue)
		return
	}
	q.wake.Reset(time.Until(t.due))
}

func (q *timers) remove(t *Timer) bool {
	at := slices.Index(q.waiting, t)
	if at < 0 {
		return false
	}
	q.waiting = slices.Delete(q.waiting, at, at+1)
	if len(q.waiting) == 0 {
		q.wake.Stop()
	}
	return true
}

// sendDue sends what is due under the lock, because another goroutine may be
// sending what comes next.
func (c *Context) sendDue() {
	c.life.mu.Lock()
	if c.life.cause != nil {
		c.life.mu.Unlock()
		return
	}
	q, now, start := c.extras.rare.timers, time.Now(), false
	for len(q.waiting) > 0 && !q.waiting[0].due.After(now) {
		start = c.putLocked(item{kind: itemTimer, info: q.waiting[0].message}) || start
		q.waiting = slices.Delete(q.waiting, 0, 1)
	}
	if len(q.waiting) > 0 {
		q.wake.Reset(q.waiting[0].due.Sub(now))
	}
	c.life.mu.Unlock()
	if start {
		c.startCallbacks()
	}
}

// dropTimersLocked drops the timers of a channel that ends.
func (c *Context) dropTimersLocked() {
	if x := c.extras; x != nil && x.rare != nil && x.rare.timers != nil {
		x.rare.timers.wake.Stop()
		x.rare.timers = nil
	}
}
