package netloop

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// Tenant is one of several users of a group's loops. Its work waits in a lane of its own on each loop, so it can be
// overloaded without affecting the others. A connection belongs to the group's lobby until SetTenant gives it to
// another tenant. A tenant need not be closed: it costs nothing while it is not used.
type Tenant struct {
	// Static after construction.
	group *Group
	lanes []*Lane

	over atomic.Int32 // lanes that are above the high-water mark
	busy atomic.Int32 // lanes with more work than fits into one turn

	mu   sync.Mutex
	calm chan struct{} // guarded by mu: closed when the overload is over; nil: there is none
}

// NewTenant makes a tenant. Any goroutine.
func (g *Group) NewTenant() *Tenant {
	t := &Tenant{group: g, lanes: make([]*Lane, len(g.loops))}
	for i, l := range g.loops {
		t.lanes[i] = &Lane{loop: l, tenant: t, budget: laneReads, late: newcomerReads}
	}
	return t
}

// Lobby returns the tenant of connections and tasks that have no other. Any goroutine.
func (g *Group) Lobby() *Tenant { return g.lobby }

// Lanes returns the tenant's lane on each loop; the slice is the tenant's. Any goroutine.
func (t *Tenant) Lanes() []*Lane { return t.lanes }

// Overloaded reports whether more than Options.HighWater tasks wait in any of the tenant's lanes. Its sockets are not
// read then. Any goroutine.
func (t *Tenant) Overloaded() bool { return t.over.Load() > 0 }

// Yield yields the processor while a lane of the tenant has more work than fits into one turn, so that a goroutine that
// posts tasks in a tight loop does not outrun the loops. For producers outside the loops. Any goroutine.
func (t *Tenant) Yield() {
	if t.busy.Load() > 0 {
		runtime.Gosched()
	}
}

// WaitNotOverloaded waits until none of the tenant's lanes is above the high-water mark, the group is closed or ctx is
// done; only the last is an error. For producers outside the loops: a loop would wait for itself.
func (t *Tenant) WaitNotOverloaded(ctx context.Context) error {
	for t.Overloaded() {
		t.mu.Lock()
		calm := t.calm
		t.mu.Unlock()
		if calm == nil {
			return nil
		}
		select {
		case <-calm:
		case <-t.group.ending:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// overloaded counts one more overloaded lane.
func (t *Tenant) overloaded() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over.Add(1) == 1 {
		t.calm = make(chan struct{})
	}
}

// calmed undoes overloaded; the last lane to recover lets the tenant's sockets be read again.
func (t *Tenant) calmed() {
	t.mu.Lock()
	last := t.over.Add(-1) == 0
	if last {
		close(t.calm)
		t.calm = nil
	}
	t.mu.Unlock()
	if last {
		for _, lane := range t.lanes {
			lane.loop.postUrgent(TaskFunc(lane.unpark))
		}
	}
}

// SetTenant gives the connection to t, whose lane it uses from now on.
func (c *Conn) SetTenant(t *Tenant) {
	l := c.Loop()
	l.leaveLane(c)
	l.enterLane(c, t.lanes[l.index])
}
