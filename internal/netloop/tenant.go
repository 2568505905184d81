package netloop

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// Tenant is one of those who share the loops of a group: what it makes them do waits in a lane of its own on each of
// them, and when that is too much it is overloaded alone. A connection belongs to the group's lobby until SetTenant gives
// it to another. A tenant needs no end: it costs nothing while nobody uses it.
type Tenant struct {
	// Static after construction.
	group *Group
	lanes []*Lane

	over atomic.Int32 // lanes that are above the high-water mark
	busy atomic.Int32 // lanes that have more to do than one turn does

	mu   sync.Mutex
	calm chan struct{} // guarded by mu: closed when the overload is over; nil: there is none
}

// NewTenant makes a tenant. Any goroutine.
func (g *Group) NewTenant() *Tenant {
	t := &Tenant{group: g, lanes: make([]*Lane, len(g.loops))}
	for i, l := range g.loops {
		t.lanes[i] = &Lane{loop: l, tenant: t, budget: laneReads}
	}
	return t
}

// Lobby is the tenant of connections and tasks that have none of their own. Any goroutine.
func (g *Group) Lobby() *Tenant { return g.lobby }

// Lanes returns the tenant's lane on each loop; the slice is the tenant's. Any goroutine.
func (t *Tenant) Lanes() []*Lane { return t.lanes }

// Overloaded reports whether more than Options.HighWater tasks wait in any of the tenant's lanes. Its sockets are not
// read then. Any goroutine.
func (t *Tenant) Overloaded() bool { return t.over.Load() > 0 }

// Yield leaves the processor to others when a lane of the tenant has more to do than one turn does, so that who posts in
// a loop does so no faster than the loops can work it off, and shares their processors with them. For producers
// outside the loops. Any goroutine.
func (t *Tenant) Yield() {
	if t.busy.Load() > 0 {
		runtime.Gosched()
	}
}

// WaitNotOverloaded waits until none of the tenant's lanes is above the high-water mark, the group is closed or ctx is
// done; only the last is an error. For producers outside the loops; on a loop it would wait for itself.
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

// overloaded notes that one more of the lanes has too much to do.
func (t *Tenant) overloaded() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over.Add(1) == 1 {
		t.calm = make(chan struct{})
	}
}

// calmed undoes overloaded; the last one lets all its sockets be read again.
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
	l := c.loop
	l.leaveLane(c)
	l.enterLane(c, t.lanes[l.index])
}
