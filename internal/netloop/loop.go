package netloop

import (
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Task is work for a loop. Run is called on the loop's goroutine and must not block.
type Task = interface{ Run() }

// TaskFunc makes a function a Task. Converting a closure allocates; a pointer type of your own with a Run method does not.
type TaskFunc func()

// Run calls f.
func (f TaskFunc) Run() { f() }

// poller is where a loop sleeps.
type poller interface {
	// wake makes the loop run a turn soon. Any goroutine.
	wake()
	// arm makes the loop run a turn after d; a later call replaces an earlier one. On the loop.
	arm(d time.Duration)
	// stop frees what the poller holds. Called once, after the loop's last turn and not on the loop.
	stop()
}

// batcher writes to many descriptors at once. It does what flush of their carrier does, for some in add and for the last
// of them in send.
type batcher interface {
	add(c *Conn)
	send()
	close()
}

// Loop owns connections and runs everything that happens to them on one goroutine.
type Loop struct {
	// Static after construction.
	group  *Group
	index  int
	poller poller
	start  time.Time     // tick 0
	done   chan struct{} // closed after the last turn
	stats  counters
	plain  error // why every send is a system call; nil: it began with a batch

	// awake is true from the moment that somebody wakes the loop until it has nothing left to do. Whoever makes it true
	// wakes the poller, so there is one wake however many tasks are posted meanwhile. A poster appends to the inbox
	// and then looks at awake; the loop clears awake and then looks at the inbox: one of them sees the other.
	awake atomic.Bool

	// Guarded by mu.
	mu     sync.Mutex
	inbox  []Task
	urgent []Task // the group's own, run before the inbox and never refused
	over   bool   // inbox passed the high-water mark and has not come down since
	closed bool   // tasks are refused

	// Owned by the loop.
	now      time.Time // of this turn
	tick     uint32    // now, in ticks since start
	tasks    []Task    // what was taken from the inbox last
	nextTask int       // the first of tasks that has not run
	sends    int       // frames queued in this turn
	burst    int       // frames queued by the task or event that runs
	conns    []*Conn
	prompt   ring // have frames of a small task or event to write
	dirty    ring // have frames to write
	dead     ring // wait for HandleClose
	parked   []*Conn
	wheel    wheel
	backlogs []*backlog
	scratch  []byte // what is read
	joined   []byte // frames that leave in one write
	batch    batcher
	stopping bool
}

func newLoop(g *Group, index int) *Loop {
	l := &Loop{group: g, index: index, start: time.Now(), done: make(chan struct{})}
	l.wheel.loop = l
	l.refresh()
	return l
}

// Index returns the loop's place in Group.Loops. Any goroutine.
func (l *Loop) Index() int { return l.index }

// Group returns the group that the loop belongs to. Any goroutine.
func (l *Loop) Group() *Group { return l.group }

// Now returns the time of this turn. Loop only.
func (l *Loop) Now() time.Time { return l.now }

// Post gives the loop a task. Any goroutine, the loop's own included; it never blocks. Tasks of one goroutine run in
// the order it posted them. It returns false when the group is closed: the task was dropped and will not run. A task
// for which it returned true will.
func (l *Loop) Post(t Task) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.inbox = append(l.inbox, t)
	over := !l.over && len(l.inbox) > l.group.options.HighWater
	if over {
		l.over = true
	}
	l.mu.Unlock()
	if over {
		l.stats.overloads.Add(1)
		l.group.overloaded()
	}
	l.rouse()
	return true
}

// postUrgent posts a task of the group's own, which must not wait behind an inbox that may grow as fast as it is emptied.
func (l *Loop) postUrgent(t Task) {
	l.mu.Lock()
	l.urgent = append(l.urgent, t)
	l.mu.Unlock()
	l.rouse()
}

// rouse sees to it that a turn will run. Everything that leaves work for the end of the turn calls it.
func (l *Loop) rouse() {
	if !l.awake.Load() && l.awake.CompareAndSwap(false, true) {
		l.poller.wake()
	}
}

// begin is called for each event of a poller before anything else happens on the loop.
func (l *Loop) begin() {
	l.burst = 0
	if !l.awake.Load() {
		l.refresh()
		l.rouse()
	}
}

func (l *Loop) refresh() {
	l.now = time.Now()
	l.tick = uint32(l.now.Sub(l.start) / l.group.options.Tick)
}

// turn is the end of a batch of events: everything that was left for later, in bounded portions. What is left over
// comes in the next turn, after the sockets have been looked at.
func (l *Loop) turn() {
	if l.stopping {
		return
	}
	l.refresh()
	l.sends = 0
	l.runUrgent()
	l.runTasks()
	l.wheel.advance(l.tick)
	l.reap(reapChunk)
	l.flush()
	l.reap(reapChunk)
	if l.stopping {
		l.finish()
		return
	}
	// Goroutines that this turn woke run now, so that what they post is taken without waking the poller, and a long
	// fan-out does not keep its processor from them: raw system calls never give it up.
	runtime.Gosched()
	l.rest()
}

// rest decides whether the loop may sleep.
func (l *Loop) rest() {
	if l.nextTask < len(l.tasks) || l.prompt.n > 0 || l.dirty.n > 0 || l.dead.n > 0 {
		l.poller.wake()
		return
	}
	l.awake.Store(false)
	l.mu.Lock()
	idle := len(l.inbox)+len(l.urgent) == 0
	l.mu.Unlock()
	if !idle {
		l.rouse()
	}
}

func (l *Loop) runUrgent() {
	l.mu.Lock()
	urgent := l.urgent
	l.urgent = nil
	l.mu.Unlock()
	for _, t := range urgent {
		t.Run()
	}
}

// runTasks runs a portion of the inbox.
func (l *Loop) runTasks() {
	if l.nextTask == len(l.tasks) {
		l.takeInbox()
	}
	last := min(len(l.tasks), l.nextTask+maxTasks)
	for l.nextTask < last && l.sends < maxSends {
		t := l.tasks[l.nextTask]
		l.tasks[l.nextTask] = nil
		l.nextTask++
		l.burst = 0
		t.Run()
	}
	if l.nextTask == len(l.tasks) {
		l.calm()
	}
}

// takeInbox swaps the inbox for the slice that was emptied last.
func (l *Loop) takeInbox() {
	if cap(l.tasks) > 16*maxTasks {
		l.tasks = nil // grown by an overload: not worth keeping
	}
	l.mu.Lock()
	l.tasks, l.inbox = l.inbox, l.tasks[:0]
	l.mu.Unlock()
	l.nextTask = 0
}

// calm ends the overload when the inbox has come down far enough.
func (l *Loop) calm() {
	l.mu.Lock()
	calm := l.over && len(l.inbox) <= l.group.options.HighWater/2
	if calm {
		l.over = false
	}
	l.mu.Unlock()
	if calm {
		l.group.calmed()
	}
}

// flush writes to a portion of the connections that have something waiting: first those of small tasks and events, which
// do not wait behind a large fan-out, then those of fan-outs; of each first come first served.
func (l *Loop) flush() {
	l.flushRing(&l.prompt)
	l.flushRing(&l.dirty)
}

func (l *Loop) flushRing(r *ring) {
	n := min(r.n, flushChunk)
	batch := l.batch
	if n < l.group.options.batchFrom {
		batch = nil
	}
	for range n {
		c := r.pop()
		waits := c.flags&flagDirty != 0 // else it was written by way of the other ring
		c.flags &^= flagDirty | flagPrompt
		switch {
		case !waits || c.state != stateOpen && c.state != stateClosing:
		case batch != nil && c.fd >= 0:
			batch.add(c)
		default:
			c.carrier.flush(c)
		}
	}
	if batch != nil {
		batch.send()
	}
}

// markDirty has c written at the end of the turn, unless it waits for room anyway. One that stands in a fan-out's ring
// already is put into the other too when it gets a reply: what waits for it leaves in order, only sooner.
func (l *Loop) markDirty(c *Conn) {
	switch {
	case c.flags&flagBlocked != 0:
		return
	case l.burst <= promptBurst && c.flags&flagPrompt == 0:
		l.prompt.push(c)
		c.flags |= flagPrompt
	case c.flags&flagDirty == 0:
		l.dirty.push(c)
	}
	c.flags |= flagDirty
	l.rouse()
}

// reap frees up to limit closed connections and tells their handlers. It is the only place that does, so a handler
// never hears HandleClose from inside another callback. Descriptors are closed here too, after the events that were
// handled before the turn; an event of the same batch that still comes for one finds its connection closed, because
// callbacks are bound to the connection and not to the number.
func (l *Loop) reap(limit int) {
	for ; l.dead.n > 0 && limit > 0; limit-- {
		c := l.dead.pop()
		l.forget(c)
		c.carrier.close(c)
		l.stats.countClose(c.reason)
		c.handler.HandleClose(c, c.reason)
	}
}

// own puts c among the loop's connections.
func (l *Loop) own(c *Conn) {
	c.index = int32(len(l.conns))
	l.conns = append(l.conns, c)
	l.stats.connections.Add(1)
}

// forget undoes own and takes c off the wheel.
func (l *Loop) forget(c *Conn) {
	l.wheel.remove(c)
	last := len(l.conns) - 1
	moved := l.conns[last]
	l.conns[c.index], moved.index = moved, c.index
	l.conns[last] = nil
	l.conns = l.conns[:last]
	l.stats.connections.Add(-1)
	if size := cap(l.conns); size > shrinkAbove && last <= size/4 {
		l.shrink(size / 2)
	}
}

// shrinkAbove is the number of connections from which on a loop gives memory back.
const shrinkAbove = 1024

// shrink gives back what a loop with more than twice as many connections has needed. Halving at a quarter keeps its cost
// per connection constant.
func (l *Loop) shrink(size int) {
	l.conns = append(make([]*Conn, 0, size), l.conns...)
	l.prompt.shrink(size)
	l.dirty.shrink(size)
	l.dead.shrink(size)
	if keep := min(len(l.backlogs), size/4); keep < len(l.backlogs) {
		l.backlogs = append([]*backlog(nil), l.backlogs[:keep]...)
	}
}

// park stops reading c until the overload is over.
func (l *Loop) park(c *Conn) {
	c.flags |= flagParked
	l.parked = append(l.parked, c)
	c.carrier.interest(c)
}

// unpark reads all parked connections again.
func (l *Loop) unpark() {
	parked := l.parked
	l.parked = nil
	for _, c := range parked {
		if c.flags&flagParked != 0 {
			c.flags &^= flagParked
			if c.state <= stateClosing {
				c.carrier.interest(c)
			}
		}
	}
}

// shutdown refuses tasks from now on; finish runs those that were taken.
func (l *Loop) shutdown() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.stopping = true
}

// finish runs the tasks that were taken, closes every connection and ends the loop.
func (l *Loop) finish() {
	for l.nextTask < len(l.tasks) || len(l.inbox) > 0 { // nobody appends any more
		l.runTasks()
		l.sends = 0
	}
	for _, c := range l.conns {
		c.Close(ErrClosed)
	}
	for l.dead.n > 0 {
		l.reap(l.dead.n)
	}
	close(l.done)
}

// ring is a queue of connections, owned by a loop. len(conns) is 0 or a power of two.
type ring struct {
	conns []*Conn
	head  int
	n     int
}

func (r *ring) push(c *Conn) {
	if r.n == len(r.conns) {
		r.resize(max(64, 2*len(r.conns)))
	}
	r.conns[(r.head+r.n)&(len(r.conns)-1)] = c
	r.n++
}

// shrink makes the ring one for size connections, if it holds no more.
func (r *ring) shrink(size int) {
	size = 1 << bits.Len(uint(size-1))
	if r.n <= size && size < len(r.conns) {
		r.resize(size)
	}
}

// resize gives the ring room for size connections, a power of two.
func (r *ring) resize(size int) {
	conns := make([]*Conn, size)
	for i := range r.n {
		conns[i] = r.conns[(r.head+i)&(len(r.conns)-1)]
	}
	r.conns, r.head = conns, 0
}

func (r *ring) pop() *Conn {
	c := r.conns[r.head]
	r.conns[r.head] = nil
	r.head = (r.head + 1) & (len(r.conns) - 1)
	r.n--
	return c
}
