package netloop

import "time"

// Costs that lanes are charged for: tasks in queued frames, writes in small writes, reading in units of about a
// microsecond.
const (
	// taskCost is the cost of a task, in addition to the frames that it queues.
	taskCost = 16
	// laneShare is what a lane's tasks may cost before the next lane's turn: about 0.1 ms.
	laneShare = 2048
	// writeUnit is how many bytes cost as much as one more write.
	writeUnit = 16 << 10
	// laneWrites is what a lane may write before the next lane's turn: about 0.15 ms.
	laneWrites = 16
	// readUnit is how many bytes of client messages cost about a microsecond: a short message and its reply.
	readUnit = 64
	// laneReads is what a lane may read in one turn: twice the loop's buffer, or a message from each of two thousand
	// clients.
	laneReads = 2 * scratchSize / readUnit
	// lobbyReads is the same for the lobby, where a read is a handshake.
	lobbyReads = laneReads / 4
	// newcomerReads is the same for a lane's newcomers, whose reads are joins.
	newcomerReads = laneReads / 16
	// newcomerTime is how long newcomers of all lanes may take in one turn, with what else happens meanwhile. Others wait
	// for twice as long.
	newcomerTime = 2 * time.Millisecond
	// loopReads is what all lanes together may read in one turn; each may read at least once.
	loopReads = 2 * laneReads
	// sharedPart divides what a turn may queue and write if several tenants have connections: others wait half as long
	// behind a saturating tenant, and batches of 32 sends save nearly as much as batches of 64.
	sharedPart = 2
	// sharedReads does the same for reading, and for the size of one recv: about 0.5 ms of short messages.
	sharedReads = 4
	// sparesKept is how many empty task slices a loop keeps.
	sparesKept = 64
)

// Lane is a tenant's part of a loop: its tasks, and its connections that are to be written and read. A loop visits the
// lanes that have work and does a share of each, so that no tenant waits behind all the work of another. A lone lane
// gets the full turn.
type Lane struct {
	// Static after construction.
	loop   *Loop
	tenant *Tenant
	budget int // what it may read in one turn
	late   int // what it may read of newcomers

	// Guarded by loop.mu.
	inbox []Task
	lined bool // in loop.filled or loop.working
	busy  bool // inbox exceeded one turn's tasks and has not come down since
	over  bool // inbox passed the high-water mark and has not come down since

	// Owned by the loop.
	tasks    []Task   // taken from the inbox last
	nextTask int      // the first of tasks that has not run
	credit   int      // what its tasks may still cost in this round; below 0 it has to wait
	prompt   connRing // connections that have frames of a small task or event to write
	dirty    connRing // connections that have frames to write
	unread   connRing // connections with unread bytes, because the budget was spent
	toRead   bool     // in loop.unread, or taken from it by readLane
	reading  int      // what has been read in the turn readIn
	readIn   uint32
	waiting  connRing // newcomers with unread bytes, because their budget was spent
	lateRead int      // what has been read of newcomers in the turn readIn
	parked   []*Conn  // not read until the tenant's overload is over
	conns    int      // connections that use it
}

// Index returns the loop's place in Group.Loops, and the lane's in Tenant.Lanes. Any goroutine.
func (a *Lane) Index() int { return a.loop.index }

// Now returns the time of this turn. Loop only.
func (a *Lane) Now() time.Time { return a.loop.now }

// Post queues a task for the loop. Any goroutine, including the loop's own; it never blocks. Tasks that one goroutine
// posts to one lane run in that order. Post returns false if the group is closed, and the task will not run; if it
// returns true, the task will run.
func (a *Lane) Post(t Task) bool {
	l := a.loop
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	if a.inbox == nil {
		a.inbox = l.spareTasks()
	}
	a.inbox = append(a.inbox, t)
	if !a.lined {
		a.lined = true
		l.filled = append(l.filled, a)
	}
	if !a.busy && len(a.inbox) > maxTasks {
		a.busy = true
		a.tenant.busy.Add(1)
	}
	over := !a.over && len(a.inbox) > l.group.options.HighWater
	if over {
		a.over = true
	}
	l.mu.Unlock()
	if over {
		l.stats.overloads.Add(1)
		a.tenant.overloaded()
	}
	l.rouse()
	return true
}

// emptied lines the lane up again if tasks have come since its inbox was taken, and ends its overload if they are few
// enough.
func (a *Lane) emptied() {
	l := a.loop
	tasks := a.tasks
	a.tasks, a.nextTask = nil, 0
	a.credit = min(a.credit, 0)
	l.mu.Lock()
	l.keepTasks(tasks)
	if a.lined = len(a.inbox) > 0; a.lined {
		l.filled = append(l.filled, a)
	}
	if a.busy && len(a.inbox) <= maxTasks/2 {
		a.busy = false
		a.tenant.busy.Add(-1)
	}
	calm := a.over && len(a.inbox) <= l.group.options.HighWater/2
	if calm {
		a.over = false
	}
	l.mu.Unlock()
	if calm {
		a.tenant.calmed()
	}
}

// lineUp puts the lane back in line if it has more tasks.
func (a *Lane) lineUp() {
	if a.nextTask == len(a.tasks) {
		a.emptied()
	} else {
		a.loop.working.push(a)
	}
}

// run runs tasks until the lane's credit or the turn's portion is used up.
func (a *Lane) run() {
	l := a.loop
	for a.nextTask < len(a.tasks) && a.credit > 0 && l.hasTime() {
		t := a.tasks[a.nextTask]
		a.tasks[a.nextTask] = nil
		a.nextTask++
		l.ran++
		l.burst = 0
		t.Run()
		a.credit -= taskCost + l.burst
	}
}

// mayRead reports whether the lane may read one more connection in this turn.
func (a *Lane) mayRead() bool {
	a.beginReads()
	return a.within(a.reading, a.budget)
}

// mayReadNewcomer is mayRead for a newcomer.
func (a *Lane) mayReadNewcomer() bool {
	a.beginReads()
	return a.within(a.lateRead, a.late) && (a.lateRead == 0 || a.loop.newcomers.haveRoom(a.loop.turns))
}

// mayReadConn is mayRead for c, which may be a newcomer.
func (a *Lane) mayReadConn(c *Conn) bool {
	if c.isNewcomer() {
		return a.mayReadNewcomer()
	}
	return a.mayRead()
}

func (a *Lane) beginReads() {
	if a.readIn != a.loop.turns {
		a.readIn, a.reading, a.lateRead = a.loop.turns, 0, 0
	}
}

// within reports whether one more connection may be read after read of a budget.
func (a *Lane) within(read, budget int) bool {
	part := a.loop.readPart()
	return read == 0 || read < budget/part && a.loop.readAll < loopReads/part
}

// charge counts what was read of c.
func (a *Lane) charge(c *Conn, bytes int) {
	cost := 1 + bytes/readUnit
	if c.isNewcomer() {
		a.lateRead += cost
	} else {
		a.reading += cost
	}
	a.loop.readAll += cost
}

// putOff leaves c to be read in the next turn.
func (a *Lane) putOff(c *Conn) {
	if c.flags&flagUnread != 0 {
		return
	}
	c.flags |= flagUnread
	c.touched = a.loop.tick
	r := &a.unread
	if c.isNewcomer() {
		r = &a.waiting
	}
	r.push(a.loop, c)
	if !a.toRead {
		a.toRead = true
		a.loop.unread.push(a)
	}
}

// delay returns how long the next newcomer has been waiting to be read.
func (a *Lane) delay() time.Duration {
	if a.waiting.n == 0 {
		return 0
	}
	return time.Duration(a.loop.tick-a.waiting.at(0).touched) * a.loop.group.options.Tick
}

// park stops reading c until the overload is over.
func (a *Lane) park(c *Conn) {
	c.flags |= flagParked
	a.parked = append(a.parked, c)
	c.carrier().interest(c)
}

// unpark reads all parked connections again.
func (a *Lane) unpark() {
	parked := a.parked
	a.parked = nil
	for _, c := range parked {
		if c.flags&flagParked != 0 {
			c.flags &^= flagParked
			c.touched = c.Loop().tick
			if c.state <= stateClosing {
				c.carrier().interest(c)
			}
		}
	}
}

// enterLane puts c on a lane.
func (l *Loop) enterLane(c *Conn, a *Lane) {
	if a.conns++; a.conns == 1 && a != l.lobby {
		l.tenants++
	}
	c.lane = a
	if s, ok := c.carrier().(*stream); ok {
		s.lane.Store(a)
	}
}

// leaveLane undoes enterLane. The lane's rings may still list c; whoever takes it from there notices.
func (l *Loop) leaveLane(c *Conn) {
	if c.lane.conns--; c.lane.conns == 0 && c.lane != l.lobby {
		l.tenants--
	}
}

// lineup lists the lanes that have work of one kind, in the order of their turns.
type lineup struct{ ring[*Lane] }

// have reports whether at least n connections wait in the rings of the lanes.
func (q *lineup) have(n int, of func(*Lane) *connRing) bool {
	for i := 0; i < q.n && n > 0; i++ {
		n -= of(q.at(i)).n
	}
	return n <= 0
}
