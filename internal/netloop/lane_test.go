package netloop

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
)

// gated holds up a loop until the test calls open, so that what the test does meanwhile is there all at once.
func gated(t *testing.T, l *Loop) (open func()) {
	t.Helper()
	gate, inside := make(chan struct{}), make(chan struct{})
	open = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open) // or Close would wait for the loop
	l.Post(TaskFunc(func() { close(inside); <-gate }))
	receive(t, "the loop to be held up", inside)
	return open
}

// The tasks of one tenant do not wait behind all that another has posted, and those of each keep their order.
func TestTasksTakeTurns(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{Loops: 1}))
		l := g.Loops()[0]
		flood, quiet := g.NewTenant().Lanes()[0], g.NewTenant().Lanes()[0]
		const many, few = 20_000, 3
		open := gated(t, l)
		var ran []int // of the flood, when a task of the other ran
		n := 0
		done := make(chan struct{})
		for i := range many {
			flood.Post(TaskFunc(func() {
				if n != i {
					t.Errorf("task %d ran as number %d", i, n)
				}
				if n++; n == many {
					close(done)
				}
			}))
		}
		for range few {
			quiet.Post(TaskFunc(func() { ran = append(ran, n) }))
		}
		open()
		receive(t, "all tasks", done)
		const share = laneShare/taskCost + 1
		if len(ran) != few || ran[few-1] > 2*share {
			t.Errorf("the other's tasks ran after %v of the flood, want at most %d", ran, 2*share)
		}
	})
}

// A tenant whose tasks queue many frames has its turn less often.
func TestTasksPayForFrames(t *testing.T) {
	g := newGroup(t, Options{Loops: 1, IOUring: IOUringOff})
	l := g.Loops()[0]
	flood, other := g.NewTenant().Lanes()[0], g.NewTenant().Lanes()[0]
	o := &order{}
	conns := laneOf(l, flood, o, 3*laneShare)
	f := frameOf([]byte("to all"))
	defer f.Release()
	open := gated(t, l)
	large, small := 0, []int(nil)
	for range 5 {
		flood.Post(TaskFunc(func() {
			large++
			f.Retain(int32(len(conns)))
			for _, c := range conns {
				c.Send(f)
			}
		}))
	}
	done := make(chan struct{})
	for i := range 500 {
		other.Post(TaskFunc(func() {
			if small = append(small, large); i == 499 {
				close(done)
			}
		}))
	}
	open()
	receive(t, "all tasks", done)
	// One large task costs three shares, in each of which the other runs more than a hundred.
	eventually(t, "all written", func() bool {
		queued := 0
		on(t, conns[0], func() { queued = l.prompt.n + l.dirty.n })
		return queued == 0
	})
	if at := slices.Index(small, 2); at < 0 || at < 300 {
		t.Errorf("the second large task ran after %d small ones", at)
	}
}

// laneOf makes connections of a lane, which no system knows of.
func laneOf(l *Loop, a *Lane, o *order, n int) []*Conn {
	conns := make([]*Conn, n)
	done := make(chan struct{})
	a.Post(TaskFunc(func() {
		defer close(done)
		for i := range conns {
			conns[i] = &Conn{lane: l.lobby, via: carriedBy(o), handler: &hooks{}, state: stateOpen, fd: -1}
			l.enterLane(conns[i], a)
		}
	}))
	<-done
	return conns
}

// The fan-out of one tenant is written between the writes of another's that is larger and was there before.
func TestWritesTakeTurns(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{Loops: 1}))
		l := g.Loops()[0]
		o := &order{}
		flood, quiet := g.NewTenant().Lanes()[0], g.NewTenant().Lanes()[0]
		const few = 2 * promptBurst
		crowd, others := laneOf(l, flood, o, 20*few), laneOf(l, quiet, o, few)
		f := frameOf([]byte("to all"))
		defer f.Release()
		send := func(to []*Conn) TaskFunc {
			return func() {
				f.Retain(int32(len(to)))
				for _, c := range to {
					c.Send(f)
				}
			}
		}
		open := gated(t, l)
		flood.Post(send(crowd))
		quiet.Post(send(others))
		open()
		var written []*Conn
		eventually(t, "all written", func() bool {
			written = nil
			on(t, crowd[0], func() { written = slices.Clone(o.written) })
			return len(written) == len(crowd)+few
		})
		// The small part of each, which goes first, and then as many of the flood as of the other.
		if last := slices.Index(written, others[few-1]); last > 2*few+promptChunk+2*laneWrites {
			t.Errorf("the last of %d was written after %d", few, last)
		}
		if first := slices.IndexFunc(written, func(c *Conn) bool { return slices.Contains(crowd, c) }); first > few/2+laneWrites {
			t.Errorf("the first of the flood was written after %d", first)
		}
	})
}

// A tenant with much to read is put off for the others, and all of it is read.
func TestReadsTakeTurns(t *testing.T) {
	w := ways[0]
	w.possible(t)
	g := newGroup(t, w.with(Options{Loops: 1}))
	l := g.Loops()[0]
	flood, quiet := g.NewTenant(), g.NewTenant()
	const many, each = 20, 2 * scratchSize
	read, before := 0, -1
	opened := make(chan struct{}, 1)
	join := func(to *Tenant, data func(*Conn, []byte)) *net.TCPConn {
		h := &hooks{data: data, open: func(c *Conn) { c.SetTenant(to); opened <- struct{}{} }}
		peer := dial(t, listen(t, g, func(netip.AddrPort) Handler { return h }))
		receive(t, "HandleOpen", opened)
		return peer
	}
	var peers []*net.TCPConn
	for range many {
		peers = append(peers, join(flood, func(_ *Conn, data []byte) { read += len(data) }))
	}
	other := join(quiet, func(*Conn, []byte) { before = read })
	open := gated(t, l)
	for _, p := range peers {
		if _, err := p.Write(make([]byte, each)); err != nil {
			t.Fatal(err)
		}
	}
	other.Write([]byte("x"))
	open()
	lane := flood.Lanes()[0]
	eventually(t, "all read", func() bool {
		all := false
		done := make(chan struct{})
		lane.Post(TaskFunc(func() { all = read == many*each && before >= 0; close(done) }))
		<-done
		return all
	})
	if most := laneReads*readUnit + 2*scratchSize; before > most {
		t.Errorf("the other was read after %d bytes of the flood, want at most %d", before, most)
	}
	if lane.unread.n != 0 || len(lane.unread.items) != 0 {
		t.Errorf("%d connections left to read, in a ring of %d", lane.unread.n, len(lane.unread.items))
	}
}

// The overload of one tenant is not another's.
func TestOverloadIsTheTenants(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{Loops: 2, HighWater: 100}))
		got := make(chan string, 10)
		busy, quiet := g.NewTenant(), g.NewTenant()
		hook := func(name string, of *Tenant) *hooks {
			return &hooks{open: func(c *Conn) { c.SetTenant(of) }, data: func(_ *Conn, data []byte) { got <- name + string(data) }}
		}
		a, busyPeer := connect(t, g, hook("busy ", busy))
		b, quietPeer := connect(t, g, hook("quiet ", quiet))
		for b.Loop() != a.Loop() { // the same loop, so that nothing but the tenant tells them apart
			b, quietPeer = connect(t, g, hook("quiet ", quiet))
		}
		gate := g.Loops()[1-a.Loop().Index()]
		open := gated(t, gate)
		for range 200 {
			busy.Lanes()[gate.Index()].Post(TaskFunc(func() {}))
		}
		if !busy.Overloaded() || quiet.Overloaded() || g.Lobby().Overloaded() {
			t.Fatal("overloaded:", busy.Overloaded(), quiet.Overloaded(), g.Lobby().Overloaded())
		}
		if w.options.Portable { // its reader may have been in Read before; the next one must wait
			busyPeer.Write([]byte("early"))
			receive(t, "what was read before the overload", got)
		}
		busyPeer.Write([]byte("1"))
		for _, word := range []string{"1", "2", "3"} {
			quietPeer.Write([]byte(word))
			if data := receive(t, "HandleData", got); data != "quiet "+word {
				t.Fatal(data)
			}
		}
		open()
		if data := receive(t, "HandleData", got); data != "busy 1" {
			t.Error(data)
		}
		if busy.Overloaded() {
			t.Error("still overloaded")
		}
	})
}

// Lanes that have connections are counted, and one that has nothing to do keeps no memory.
func TestLanesComeAndGo(t *testing.T) {
	g := newGroup(t, Options{Loops: 1, Portable: true})
	l := g.Loops()[0]
	done := make(chan struct{})
	l.Post(TaskFunc(func() {
		defer close(done)
		for range 3 {
			var conns []*Conn
			for range 100 {
				c := &Conn{lane: l.lobby, via: carriedBy(&order{}), handler: &hooks{}, fd: -1}
				l.ownConn(c)
				c.SetTenant(g.NewTenant())
				conns = append(conns, c)
			}
			if l.tenants != 100 || conns[7].lane.conns != 1 || l.lobby.conns != 0 {
				t.Errorf("%d tenants, %d connections in the lobby", l.tenants, l.lobby.conns)
			}
			for _, c := range conns {
				l.forgetConn(c)
			}
			if l.tenants != 0 {
				t.Errorf("%d tenants without connections", l.tenants)
			}
		}
	}))
	receive(t, "the task", done)
	a := g.NewTenant().Lanes()[0]
	ran := make(chan struct{})
	a.Post(TaskFunc(func() { close(ran) }))
	receive(t, "a task of a lane", ran)
	eventually(t, "the lane to be empty", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return !a.lined && a.inbox == nil
	})
}

// A tenant is busy from more than a turn's tasks on, until they are worked off, and turns are shorter where several have
// connections.
func TestBusyTenant(t *testing.T) {
	g := newGroup(t, Options{Loops: 1, Portable: true})
	l := g.Loops()[0]
	tenant := g.NewTenant()
	a := tenant.Lanes()[0]
	open := gated(t, l)
	for range maxTasks {
		a.Post(TaskFunc(func() {}))
	}
	if tenant.busy.Load() != 0 {
		t.Error("busy with what one turn does")
	}
	a.Post(TaskFunc(func() {}))
	if tenant.busy.Load() != 1 {
		t.Error("not busy with more than one turn does")
	}
	tenant.Yield()
	open()
	eventually(t, "the tasks to be worked off", func() bool { return tenant.busy.Load() == 0 })
	on := func(f func()) {
		done := make(chan struct{})
		l.Post(TaskFunc(func() { f(); close(done) }))
		receive(t, "the task", done)
	}
	for i, want := range []int{1, 1, sharedPart} {
		part := 0
		on(func() { part = l.part })
		if part != want {
			t.Errorf("with connections of %d tenants turns are a part of %d, want %d", i, part, want)
		}
		on(func() {
			c := &Conn{lane: l.lobby, via: carriedBy(&order{}), handler: &hooks{opened: true}, fd: -1}
			l.ownConn(c)
			c.SetTenant(g.NewTenant())
		})
	}
}
