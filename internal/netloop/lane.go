package netloop

import "time"

// The costs of what a loop does, as lanes are charged for them: of tasks in frames queued, of writes in small ones, of
// reading in about a microsecond.
const (
	// taskCost is that of a task, beside the frames that it queues.
	taskCost = 16
	// laneShare is what a lane's tasks may cost before it is another's turn: some 0.1 ms.
	laneShare = 2048
	// writeUnit is how many bytes cost as much as one write more.
	writeUnit = 16 << 10
	// laneWrites is what a lane may write before it is another's turn: some 0.15 ms.
	laneWrites = 16
	// readUnit is how many bytes of messages from clients cost a microsecond, roughly: a short one and its reply.
	readUnit = 64
	// laneReads is what a lane may read in one turn: twice the loop's buffer, or a message of each of two thousand clients.
	laneReads = 2 * scratchSize / readUnit
	// lobbyReads is the same for the lobby, where a read is a handshake.
	lobbyReads = laneReads / 4
	// loopReads is what all lanes may read in one turn, but each at least once.
	loopReads = 2 * laneReads
	// sharedPart divides what a turn may queue and write where several tenants have connections: what waits behind a
	// saturating one waits half as long, and batches of 32 sends still save nearly all that those of 64 do.
	sharedPart = 2
	// sharedReads does the same for reading, and for what one recv takes: of short messages that is some 0.5 ms.
	sharedReads = 4
	// sparesKept is how many empty slices for tasks a loop keeps.
	sparesKept = 64
)

// Lane is a tenant's part of a loop: its tasks, and which of its connections are to be written and read. A loop goes
// round the lanes that have work of a kind and takes a share of each, so that nobody waits behind all that another has
// ordered. A lane that is alone with its work gets as much as a turn has.
type Lane struct {
	// Static after construction.
	loop   *Loop
	tenant *Tenant
	budget int // of reading, for one turn

	// Guarded by loop.mu.
	inbox []Task
	lined bool // it stands in loop.filled or loop.working
	busy  bool // inbox had more than a turn's tasks and has not come down since
	over  bool // inbox passed the high-water mark and has not come down since

	// Owned by the loop.
	tasks    []Task // what was taken from the inbox last
	nextTask int    // the first of tasks that has not run
	credit   int    // what its tasks may cost before it is another's turn; below 0 it has to wait
	prompt   ring   // connections that have frames of a small task or event to write
	dirty    ring   // connections that have frames to write
	unread   ring   // connections that have bytes, but the budget was spent
	reading  int    // what has been read in the turn readIn
	readIn   uint32
	parked   []*Conn // not read until the tenant's overload is over
	number   uint32  // in loop.lanes; 0 for who is not the lobby: it has no connections here
	conns    int
}

// Index returns the loop's place in Group.Loops, and the lane's in Tenant.Lanes. Any goroutine.
func (a *Lane) Index() int { return a.loop.index }

// Now returns the time of this turn. Loop only.
func (a *Lane) Now() time.Time { return a.loop.now }

// Post gives the loop a task. Any goroutine, the loop's own included; it never blocks. Tasks that one goroutine posts to
// one lane run in the order it posted them. It returns false when the group is closed: the task was dropped and will not
// run. A task for which it returned true will.
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

// emptied sees what has come since the lane's tasks were taken, and ends its overload when that is little enough.
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

// lineUp has the lane wait for its turn if it has more tasks.
func (a *Lane) lineUp() {
	if a.nextTask == len(a.tasks) {
		a.emptied()
	} else {
		a.loop.working.push(a)
	}
}

// run runs tasks until credit is used up, or what this turn has for all.
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
	l := a.loop
	if a.readIn != l.turns {
		a.readIn, a.reading = l.turns, 0
	}
	part := l.readPart()
	return a.reading == 0 || a.reading < a.budget/part && l.readAll < loopReads/part
}

// charge counts what was read.
func (a *Lane) charge(bytes int) {
	cost := 1 + bytes/readUnit
	a.reading += cost
	a.loop.readAll += cost
}

// putOff has c read in the next turn, in its turn. Until then epoll reports it again and again, which costs less than
// to tell epoll twice.
func (a *Lane) putOff(c *Conn) {
	if c.flags&flagUnread != 0 {
		return
	}
	c.flags |= flagUnread
	if a.unread.push(a.loop, c); a.unread.n == 1 {
		a.loop.unread.push(a)
	}
}

// park stops reading c until the overload is over.
func (a *Lane) park(c *Conn) {
	c.flags |= flagParked
	a.parked = append(a.parked, c)
	c.carrier.interest(c)
}

// unpark reads all parked connections again.
func (a *Lane) unpark() {
	parked := a.parked
	a.parked = nil
	for _, c := range parked {
		if c.flags&flagParked != 0 {
			c.flags &^= flagParked
			if c.state <= stateClosing {
				c.carrier.interest(c)
			}
		}
	}
}

// lane returns the lane of a connection of the loop's.
func (l *Loop) lane(c *Conn) *Lane { return l.lanes[c.lane] }

// enterLane has c use a lane from now on. The first connection gives the lane a number, which the last takes with it.
func (l *Loop) enterLane(c *Conn, a *Lane) {
	if a.conns++; a.conns == 1 && a != l.lanes[0] {
		if n := len(l.freeLanes); n > 0 {
			a.number = l.freeLanes[n-1]
			l.freeLanes = l.freeLanes[:n-1]
			l.lanes[a.number] = a
		} else {
			a.number = uint32(len(l.lanes))
			l.lanes = append(l.lanes, a)
		}
	}
	c.lane = a.number
	if s, ok := c.carrier.(*stream); ok {
		s.lane.Store(a)
	}
}

// leaveLane undoes enterLane. What the lane still has of c finds out by itself.
func (l *Loop) leaveLane(c *Conn) {
	a := l.lane(c)
	if a.conns--; a.conns == 0 && a.number != 0 {
		l.lanes[a.number] = nil
		l.freeLanes = append(l.freeLanes, a.number)
		a.number = 0
	}
	c.lane = 0
}

// lineup is the lanes that have work of one kind, in the order in which it is their turn.
type lineup struct {
	lanes []*Lane // a ring; its length is 0 or a power of two
	head  int
	n     int
}

func (q *lineup) push(a *Lane) {
	if q.n == len(q.lanes) {
		lanes := make([]*Lane, max(8, 2*len(q.lanes)))
		for i := range q.n {
			lanes[i] = q.lanes[(q.head+i)&(len(q.lanes)-1)]
		}
		q.lanes, q.head = lanes, 0
	}
	q.lanes[(q.head+q.n)&(len(q.lanes)-1)] = a
	q.n++
}

func (q *lineup) pop() *Lane {
	a := q.lanes[q.head]
	q.lanes[q.head] = nil
	q.head = (q.head + 1) & (len(q.lanes) - 1)
	q.n--
	return a
}

// have reports whether at least n connections wait in the rings of the lanes.
func (q *lineup) have(n int, of func(*Lane) *ring) bool {
	for i := 0; i < q.n && n > 0; i++ {
		n -= of(q.lanes[(q.head+i)&(len(q.lanes)-1)]).n
	}
	return n <= 0
}
