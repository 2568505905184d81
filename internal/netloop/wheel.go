package netloop

import "time"

// wheelSlots is how many ticks the wheel looks ahead: 102 s at 100 ms. Later deadlines are put at its far end, and
// moved when it comes round.
const wheelSlots = 1024

// timer is a connection's place on the wheel. Times are in ticks since the loop was made; tick 0 is never a place.
type timer struct {
	next, prev *Conn
	at         uint32 // the tick of its slot; 0: not on the wheel
	idle       uint32 // ticks without a byte until it fires
}

// wheel holds a loop's deadlines. An arriving byte only notes the time; the connection is moved when its slot comes up.
// So a busy connection costs one move per deadline, not one per message.
//
// Invariant: current < at <= current+wheelSlots-1 for all connections on it.
type wheel struct {
	loop    *Loop
	slots   [wheelSlots]*Conn
	count   int
	current uint32 // the last tick that was handled
	armed   uint32 // the tick for which the poller is armed; 0: none
}

// set restarts c's deadline with d, or clears it if d is 0.
func (w *wheel) set(c *Conn, d time.Duration) {
	if d <= 0 {
		w.remove(c)
		return
	}
	t := w.loop.group.options.Tick
	ticks := (d+t-1)/t + 1 // one more because part of the current tick is over: never early
	c.timer.idle = uint32(min(ticks, 1<<30))
	c.touched = w.loop.tick
	due := c.touched + c.timer.idle
	if c.timer.at != 0 && c.timer.at <= due {
		return // its slot comes up first, and then it is moved
	}
	w.remove(c)
	if w.count == 0 {
		w.current = max(w.current, w.loop.tick) // it stands still while it is empty
	}
	w.place(c, due)
	if w.armed == 0 || c.timer.at < w.armed {
		w.arm(c.timer.at)
	}
}

func (w *wheel) place(c *Conn, due uint32) {
	at := max(min(due, w.current+wheelSlots-1), w.current+1)
	slot := &w.slots[at%wheelSlots]
	c.timer.at = at
	c.timer.prev, c.timer.next = nil, *slot
	if c.timer.next != nil {
		c.timer.next.timer.prev = c
	}
	*slot = c
	w.count++
}

func (w *wheel) remove(c *Conn) {
	t := &c.timer
	if t.at == 0 {
		return
	}
	if t.prev != nil {
		t.prev.timer.next = t.next
	} else {
		w.slots[t.at%wheelSlots] = t.next
	}
	if t.next != nil {
		t.next.timer.prev = t.prev
	}
	t.next, t.prev, t.at = nil, nil, 0
	w.count--
}

// advance handles all ticks up to now and wakes the loop for the next.
func (w *wheel) advance(now uint32) {
	if w.armed == 0 || now < w.armed {
		return
	}
	w.armed = now // so that deadlines set by callbacks leave arming to rearm
	if now-w.current > wheelSlots {
		// After a long standstill every slot comes up once; each timer knows when it is due. A slot is empty after it
		// has come up, so the invariant holds for the new current.
		w.current = now - wheelSlots
	}
	for w.current < now {
		w.current++
		w.expire(w.current, now)
	}
	w.armed = 0
	w.rearm()
}

// expire empties the slot of one tick: what is due fires, the rest moves on. Callbacks may change the wheel, so the
// slot is taken from the front one by one; none of them can add to it.
func (w *wheel) expire(tick, now uint32) {
	slot := &w.slots[tick%wheelSlots]
	defer func() {
		if *slot != nil { // a handler has aborted it: the rest comes up in the next turn
			w.current = tick - 1
		}
	}()
	for c := *slot; c != nil; c = *slot {
		w.remove(c)
		if due := c.touched + c.timer.idle; due > now {
			w.place(c, due)
			continue
		}
		c.expired()
	}
}

// rearm wakes the loop for the first occupied slot, if there is one.
func (w *wheel) rearm() {
	if w.count == 0 {
		return
	}
	for at := w.current + 1; ; at++ {
		if w.slots[at%wheelSlots] != nil {
			w.arm(at)
			return
		}
	}
}

func (w *wheel) arm(at uint32) {
	w.armed = at
	l := w.loop
	l.poller.arm(max(time.Duration(at)*l.group.options.Tick-time.Since(l.start), time.Microsecond))
}
