package netloop

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Task is work for a loop. Run is called on the loop's goroutine and must not block.
type Task = interface{ Run() }

// TaskFunc makes a function a Task. Converting a closure allocates; a pointer type with a Run method does not.
type TaskFunc func()

// Run calls f.
func (f TaskFunc) Run() { f() }

// poller is where a loop sleeps.
type poller interface {
	// wake makes the loop run a turn soon. Any goroutine.
	wake()
	// arm makes the loop run a turn after d; it replaces an earlier call. On the loop.
	arm(d time.Duration)
	// replace has another goroutine run the loop, because this one is about to end. On the loop, which this goroutine
	// may not touch afterwards.
	replace()
	// stop frees the poller's resources. It is called once, after the loop's last turn and not on the loop.
	stop()
}

// batcher writes to many descriptors at once, in place of their carrier's flush. add may send what has been added
// before; send sends the rest.
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
	delay  atomic.Int64  // what Delay returns; the loop sets it
	done   chan struct{} // closed after the last turn
	stats  counters
	lobby  *Lane // the group's own lane
	plain  error // why every send is a system call; nil: it started with a batch

	// awake is true from the moment the loop is woken until it has nothing left to do. Whoever sets it wakes the
	// poller, so there is one wake however many tasks are posted meanwhile. A poster appends to the inbox and then
	// reads awake; the loop clears awake and then reads the inbox: one of them sees the other.
	awake atomic.Bool

	// Guarded by mu, as the inboxes of lanes are.
	mu     sync.Mutex
	urgent []Task   // the group's own, run before all others and never refused
	filled []*Lane  // lanes with tasks in their inbox
	spares [][]Task // empty slices for inboxes
	closed bool     // tasks are refused

	// Owned by the loop.
	now       time.Time // of this turn
	tick      uint32    // now, in ticks since start
	turns     uint32
	part      int // divides the usual portions of this turn
	ran       int // tasks run in this turn
	sends     int // frames queued in this turn
	burst     int // frames queued by the task or event that runs
	readAll   int // what all lanes have read in this turn, in readUnits
	conns     []*Conn
	tenants   int    // tenants that have connections here
	working   lineup // lanes with tasks taken from their inbox
	prompt    lineup // lanes with connections in the ring of the same name
	dirty     lineup
	unread    lineup
	rings     [][]*Conn // empty slices for rings
	dead      connRing  // connections that wait for HandleClose
	wheel     wheel
	backlogs  []*backlog
	newcomers newcomers
	scratch   []byte      // read buffer
	joined    []byte      // frames that leave in one write
	tls       *tlsBuffers // nil until there is a TLS connection
	batch     batcher
	stopping  bool  // the group is closing: these are the last turns
	ended     bool  // nothing is left
	inside    bool  // a call of the poller is under way
	current   *Conn // whose handler runs; nil if a task or nothing runs
	cutShort  bool  // the last turn was aborted: this one starts after its tasks
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

// Delay returns for how long the newcomer that is read next has been waiting, to a tenth of a second: the connections
// that have sent a request, and those of [Conn.SetNewcomer]. It is 0 unless more of them send than the loop gets done.
// Any goroutine.
func (l *Loop) Delay() time.Duration { return time.Duration(l.delay.Load()) }

// noteDelay is called once a turn.
func (l *Loop) noteDelay() {
	most := time.Duration(0)
	for i := range l.unread.n {
		most = max(most, l.unread.at(i).delay())
	}
	if int64(most) != l.delay.Load() {
		l.delay.Store(int64(most))
	}
}

// Post queues a task on the lobby's lane: see [Lane.Post]. Any goroutine.
func (l *Loop) Post(t Task) bool { return l.lobby.Post(t) }

// postUrgent posts a task of the group, which must not wait behind an inbox that may grow as fast as it is emptied.
func (l *Loop) postUrgent(t Task) {
	l.mu.Lock()
	l.urgent = append(l.urgent, t)
	l.mu.Unlock()
	l.rouse()
}

// rouse makes sure that a turn will run. Everything that leaves work for the end of the turn calls it.
func (l *Loop) rouse() {
	if !l.awake.Load() && l.awake.CompareAndSwap(false, true) {
		l.poller.wake()
	}
}

// beginEvent is called for each event of a poller, before anything else happens on the loop.
func (l *Loop) beginEvent() {
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

// turn runs after a batch of events and does everything that was left for later, in bounded portions. What remains is
// done in the next turn, after the next look at the sockets.
func (l *Loop) turn() {
	if l.ended {
		return
	}
	l.refresh()
	l.turns++
	l.ran, l.sends, l.readAll = 0, 0, 0
	l.part = 1
	if l.shared() {
		l.part = sharedPart
	}
	l.runUrgent()
	l.runTasks()
	l.wheel.advance(l.tick)
	l.reap(reapChunk)
	l.flush()
	l.readPutOff()
	l.noteDelay()
	l.reap(reapChunk)
	if l.stopping {
		l.finishLoop()
		return
	}
	// Let goroutines run that this turn has woken, so that their tasks are taken without waking the poller. A long
	// fan-out would keep the processor from them, since raw system calls never give it up.
	runtime.Gosched()
	l.trySleep()
}

// trySleep lets the loop sleep if there is nothing to do.
func (l *Loop) trySleep() {
	if l.working.n+l.prompt.n+l.dirty.n+l.unread.n+l.dead.n > 0 {
		l.poller.wake()
		return
	}
	l.awake.Store(false)
	l.mu.Lock()
	idle := len(l.filled)+len(l.urgent) == 0
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

// runTasks runs a portion of the tasks in the inboxes, lane by lane. A lone lane may use all of it.
func (l *Loop) runTasks() {
	if l.cutShort { // so that tasks that panic again and again do not block the rest of the turn
		l.cutShort = false
		return
	}
	l.takeInboxes()
	for l.working.n > 0 && l.hasTime() {
		a := l.working.pop()
		if l.working.n == 0 {
			a.credit = maxTasks*taskCost + maxSends
		} else {
			a.credit = min(a.credit, 0) + laneShare
		}
		l.runLane(a)
	}
}

// runLane runs tasks of a, and puts it back in line for the rest even if one of them panics.
func (l *Loop) runLane(a *Lane) {
	defer a.lineUp()
	a.run()
}

// hasTime reports whether this turn may run one more task.
func (l *Loop) hasTime() bool { return l.ran < maxTasks && l.sends < maxSends/l.part }

// readPart returns the divisor for what is read in a turn.
func (l *Loop) readPart() int {
	if l.part > 1 {
		return sharedReads
	}
	return 1
}

// shared reports whether several tenants have connections on the loop. Its turns are shorter then.
func (l *Loop) shared() bool { return l.tenants > 1 }

// takeInboxes takes the inboxes of the lanes whose tasks have all run.
func (l *Loop) takeInboxes() {
	l.mu.Lock()
	for i, a := range l.filled {
		a.tasks, a.inbox = a.inbox, nil
		l.working.push(a)
		l.filled[i] = nil
	}
	l.filled = l.filled[:0]
	l.mu.Unlock()
}

// spareTasks returns an empty slice for an inbox. The caller holds mu.
func (l *Loop) spareTasks() []Task {
	n := len(l.spares)
	if n == 0 {
		return nil
	}
	spare := l.spares[n-1]
	l.spares = l.spares[:n-1]
	return spare
}

// keepTasks takes back a slice whose tasks have run, unless an overload has made it grow. The caller holds mu.
func (l *Loop) keepTasks(tasks []Task) {
	if cap(tasks) <= 16*maxTasks && len(l.spares) < sparesKept {
		l.spares = append(l.spares, tasks[:0])
	}
}

// flush writes to a portion of the connections that have frames waiting: first those of small tasks and events, which
// do not wait behind a large fan-out, then those of fan-outs; within a lane in their order.
func (l *Loop) flush() {
	l.flushLanes(&l.prompt, func(a *Lane) *connRing { return &a.prompt }, promptChunk/l.part)
	l.flushLanes(&l.dirty, func(a *Lane) *connRing { return &a.dirty }, flushChunk/l.part)
}

// flushLanes visits lanes in turn and makes at most left writes.
func (l *Loop) flushLanes(lanes *lineup, of func(*Lane) *connRing, left int) {
	batch := l.batch
	if !lanes.have(l.group.options.batchFrom, of) {
		batch = nil
	}
	for left > 0 && lanes.n > 0 {
		a := lanes.pop()
		r, share := of(a), left
		if lanes.n > 0 {
			share = min(left, laneWrites)
		}
		left -= share
		for share > 0 && r.n > 0 {
			share -= l.writeConn(r.pop(l), batch)
		}
		left += share // unused, or overdrawn if negative
		if r.n > 0 {
			lanes.push(a)
		}
	}
	if batch != nil {
		batch.send()
	}
}

// writeConn writes the frames that wait for c and returns what that costs.
func (l *Loop) writeConn(c *Conn, batch batcher) (cost int) {
	waits := c.flags&flagDirty != 0 // else it was written from the other ring
	if c.flags&flagOwed != 0 {
		l.newcomers.owed--
	}
	c.flags &^= flagDirty | flagPrompt | flagOwed
	cost = 1 + c.out.next()/writeUnit
	if c.flags&flagUntried != 0 { // its time begins now: a busy turn may have used it up
		c.flags &^= flagUntried
		l.refresh()
		c.touched = l.tick
	}
	switch {
	case !waits || c.state != stateOpen && c.state != stateClosing:
		return 1
	case batch != nil && c.fd >= 0 && c.flags&flagSecured == 0:
		batch.add(c)
	default:
		c.carrier().flush(c)
	}
	return cost
}

// readPutOff reads connections whose lane had used up its budget.
func (l *Loop) readPutOff() {
	for n := l.unread.n; n > 0 && l.readAll < loopReads; n-- {
		l.readLane(l.unread.pop())
	}
}

// readLane reads what a has put off, newcomers last, and puts it back in line for the rest even if a handler panics.
func (l *Loop) readLane(a *Lane) {
	defer func() {
		if a.toRead = a.unread.n+a.waiting.n > 0; a.toRead {
			l.unread.push(a)
		}
	}()
	for a.unread.n > 0 && a.mayRead() {
		a.readNext(&a.unread)
	}
	for a.waiting.n > 0 && a.mayReadNewcomer() {
		a.readNext(&a.waiting)
	}
}

// readNext reads the next connection of one of a's rings.
func (a *Lane) readNext(r *connRing) {
	l := a.loop
	c := r.pop(l)
	c.flags &^= flagUnread
	switch {
	case !c.reads():
	case a.tenant.Overloaded():
		a.park(c)
	default:
		l.burst = 0
		l.read(c)
	}
}

// markDirty has c written at the end of the turn, unless it waits for room. A connection in a fan-out's ring is also
// put into the prompt ring when it gets a reply: its frames leave in order, only sooner.
func (l *Loop) markDirty(c *Conn) {
	switch {
	case c.flags&flagBlocked != 0:
		return
	case l.burst <= promptBurst && c.flags&flagPrompt == 0:
		a := c.lane
		if a.prompt.push(l, c); a.prompt.n == 1 {
			l.prompt.push(a)
		}
		c.flags |= flagPrompt
	case c.flags&flagDirty == 0:
		a := c.lane
		if a.dirty.push(l, c); a.dirty.n == 1 {
			l.dirty.push(a)
		}
	}
	if c.flags&(flagNewcomer|flagOwed) == flagNewcomer {
		l.newcomers.owed++
		c.flags |= flagOwed
	}
	c.flags |= flagDirty
	l.rouse()
}

// reap frees up to limit closed connections and calls HandleClose. Nothing else does, so HandleClose never runs inside
// another callback. Descriptors are closed here too, after the events that were handled before the turn. A later event
// of the same batch finds its connection closed, because callbacks are bound to the connection and not to the number.
func (l *Loop) reap(limit int) {
	for ; l.dead.n > 0 && limit > 0; limit-- {
		c := l.dead.pop(l)
		l.forgetConn(c)
		c.carrier().close(c)
		l.stats.countClose(c.reason)
		c.handler.HandleClose(c, c.reason)
	}
}

// ownConn adds c to the loop's connections.
func (l *Loop) ownConn(c *Conn) {
	c.index = int32(len(l.conns))
	l.conns = append(l.conns, c)
	l.enterLane(c, l.lobby)
	l.stats.connections.Add(1)
}

// forgetConn undoes ownConn and takes c off the wheel.
func (l *Loop) forgetConn(c *Conn) {
	l.wheel.remove(c)
	l.leaveLane(c)
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

// shrinkAbove is the number of connections above which a loop gives memory back.
const shrinkAbove = 1024

// shrink reduces the loop's list of connections. Halving it when a quarter is in use keeps the cost per connection
// constant.
func (l *Loop) shrink(size int) {
	l.conns = append(make([]*Conn, 0, size), l.conns...)
	l.rings = nil
	if keep := min(len(l.backlogs), size/4); keep < len(l.backlogs) {
		l.backlogs = append([]*backlog(nil), l.backlogs[:keep]...)
	}
}

// shutdown refuses further tasks; finishLoop runs those that were accepted.
func (l *Loop) shutdown() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.stopping = true
}

// finishLoop runs the accepted tasks, closes every connection and ends the loop. It may be called again if a handler has
// cut it short.
func (l *Loop) finishLoop() {
	for l.working.n+len(l.filled) > 0 { // no further task is added
		l.ran, l.sends, l.part = 0, 0, 1
		l.runTasks()
	}
	for _, c := range l.conns {
		c.Close(ErrClosed)
	}
	for l.dead.n > 0 {
		l.reap(l.dead.n)
	}
	l.ended = true
	close(l.done)
}
