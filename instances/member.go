package instances

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances/internal/owners"
	"github.com/mycelium-rt/mycelium/units"
)

// member is an instance in the manager: its spec, and one life after the other.
type member struct {
	// Static after construction.
	manager  *Manager
	id       string
	declared bool
	trial    bool          // its lives only check a spec
	serial   uint64        // Info.Incarnation
	ops      chan struct{} // holds a token during a change: one at a time. Taken before mu

	mu sync.RWMutex

	// Guarded by mu.
	known    bool // acknowledged: others may see it
	gone     bool // no longer in the manager's map
	resting  bool // life serves without a supervisor, until it crashes
	halting  bool
	spec     Spec
	kind     *Type
	revision uint64
	created  time.Time
	state    State // away if it does not run on this node
	reason   string
	started  time.Time
	life     *Instance          // serves, or is being started or ended; nil: none
	next     *Instance          // for serve to take
	stop     context.CancelFunc // cancels the supervisor, which may have ended
	stopped  chan struct{}      // closed when the supervisor has ended; nil: there was none
	settled  chan struct{}      // closed when the first start has succeeded or failed; nil: not started

	// Guarded by mu: counters.
	past     *channels.Stats // of the lives that are over; nil: there were none
	crashes  []time.Time     // the last ones, at most Options.MaxCrashes + 1
	crashed  int64           // in all
	restarts int64
	leaks    []*Instance // lives that have left goroutines behind

	// Guarded by mu: in a cluster.
	drained   bool              // the record says that it must not run
	lost      bool              // the ownership was lost, and the life must end quickly
	untold    bool              // the latest status is not in the store yet
	telling   bool              // a goroutine writes the status
	deleted   string            // the record says why it is being removed; "": it is not
	invalid   string            // why this node cannot run it; "": it can
	hold      *owners.Ownership // nil: this node does not own it
	applied   uint64            // the revision of the spec that the life has, or had last
	failedAt  uint64            // the revision with which it has failed; 0: it has not
	inherited *status           // left by the owner before this node; nil: this node has not owned it

	// Owned by the manager's sweeper.
	opened    int64 // Stats.Opened when it last looked
	idleSince time.Time
	voting    atomic.Bool // the other nodes are being told whether it is idle here
}

// lock begins a change.
func (m *member) lock(ctx context.Context) error {
	select {
	case m.ops <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *member) unlock() { <-m.ops }

// info returns the member's Info; ok is false while others may not see it.
func (m *member) info() (i Info, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.infoLocked(), m.known
}

func (m *member) infoLocked() Info {
	i := Info{
		Spec: m.spec.clone(), Revision: m.revision, Node: m.nodeLocked(), Declared: m.declared, Incarnation: m.serial, Created: m.created,
	}
	i.State, i.Reason, i.Started = m.stateLocked()
	return i
}

// stateLocked returns the state that others are shown; mu must be held at least
// for reading.
func (m *member) stateLocked() (s State, reason string, started time.Time) {
	if m.state == away && m.manager.nodes != nil {
		return m.shownLocked()
	}
	return m.state, m.reason, m.started
}

// alive returns the life that serves, or an error that says why there is none.
func (m *member) alive() (*Instance, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.known {
		return nil, ErrNotFound
	}
	switch {
	case m.state == Running:
		return m.life, nil
	case m.state == away && m.manager.nodes != nil:
		return nil, m.elsewhereLocked()
	}
	return nil, ErrNotRunning
}

// serving returns the endpoint for new clients, errUnknown or ErrNotRunning. An
// endpoint that drains refuses them itself.
func (m *member) serving() (*channels.Endpoint, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	switch {
	case !m.known:
		return nil, errUnknown
	case m.life == nil || m.state != Running && m.state != Draining:
		return nil, ErrNotRunning
	}
	return m.life.endpoint, nil
}

// launch starts the instance; first, if not nil, is its first life. crashes are the
// recent ones that count towards Options.MaxCrashes.
func (m *member) launch(first *Instance, crashes []time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.manager.options.Bus != nil && m.manager.nodes == nil && !m.spreads(m.kind) {
		m.manager.log.Info("instance lives on this node alone").Str("instance", m.id).Write()
	}
	m.manager.applyHistory(m, m.kind, &m.spec)
	m.state, m.reason, m.crashes = Pending, "", crashes
	m.lost, m.applied, m.failedAt = false, m.revision, 0
	m.next, m.settled = first, make(chan struct{})
	m.tellLocked()
	m.superviseLocked()
}

// superviseLocked starts the supervisor: a goroutine that serves one life after
// the other, with a pause between them.
func (m *member) superviseLocked() {
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	m.stop, m.stopped = cancel, stopped
	go func() {
		defer close(stopped)
		defer m.startSettled()
		for m.serve(ctx) && m.pause(ctx) {
		}
	}()
}

// pause waits before a restart: Options.Backoff, plus or minus half. It returns
// false if ctx ends first.
func (m *member) pause(ctx context.Context) bool {
	backoff := m.manager.options.Backoff
	select {
	case <-time.After(backoff/2 + rand.N(max(backoff, 1))):
		return true
	case <-ctx.Done():
		return false
	}
}

// serveUnsupervised lets a life serve without a supervisor, which saves a
// goroutine: most instances only have channels and never crash. It returns
// false if the supervisor has something to do.
func (m *member) serveUnsupervised(ctx context.Context, in *Instance) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resting = ctx.Err() == nil && len(in.crashed) == 0
	return m.resting
}

// wake starts the supervisor again, to restart a crashed life.
func (m *member) wake(in *Instance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.resting && !m.halting && m.life == in {
		m.resting, m.next = false, in
		m.superviseLocked()
	}
}

// halt ends the life, and its supervisor if it has one, and waits for both.
func (m *member) halt() {
	m.mu.Lock()
	m.halting = true
	stop, stopped := m.stop, m.stopped
	m.mu.Unlock()
	if stop != nil {
		stop()
		<-stopped
	}
	m.mu.Lock()
	resting, in := m.resting, m.life
	m.resting = false
	m.mu.Unlock()
	if resting {
		m.bury(in, nil)
	}
	m.mu.Lock()
	m.halting, m.stop, m.stopped = false, nil, nil
	m.mu.Unlock()
}

// serve runs one life from its start to its end, or until it can continue
// without a supervisor. It reports whether another life must follow.
func (m *member) serve(ctx context.Context) (restart bool) {
	in, err := m.takeLife()
	if err == nil {
		if err = m.startLife(ctx, in); err == nil {
			ticks := in.ticks()
			if ticks == 0 && m.serveUnsupervised(ctx, in) {
				return false
			}
			err = in.run(ctx, ticks)
		}
		if ctx.Err() != nil {
			err = nil // the life was meant to end, so its error does not count
		}
		m.bury(in, err)
	}
	return err != nil && ctx.Err() == nil && m.crash(err)
}

// takeLife returns the next life: the one that was built with the spec, or a
// new one.
func (m *member) takeLife() (*Instance, error) {
	m.mu.Lock()
	in, spec, kind := m.next, m.spec, m.kind
	m.next = nil
	m.mu.Unlock()
	if in == nil {
		var err error
		if in, err = m.manager.build(m, kind, spec); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	m.life = in
	m.mu.Unlock()
	return in, nil
}

// startLife starts a life and admits clients.
func (m *member) startLife(ctx context.Context, in *Instance) error {
	if in.begun {
		return nil
	}
	if err := in.startLogic(ctx); err != nil {
		return err
	}
	m.mu.Lock()
	m.started = m.manager.options.Now()
	if m.state == Pending { // else it is draining already
		m.state, m.reason = Running, ""
	}
	m.tellLocked()
	m.mu.Unlock()
	m.startSettled()
	m.manager.notifyWatchers(m, EventStarted, "")
	return nil
}

// startSettled releases those that wait for the first start.
func (m *member) startSettled() {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.settled:
	default:
		close(m.settled)
	}
}

// afterStart waits for a start in progress, if there is one, and returns i with
// the resulting state. The member is not locked meanwhile: if it has been
// changed since, i is returned as it was.
func (m *member) afterStart(ctx context.Context, i Info) Info {
	m.mu.RLock()
	settled := m.settled
	m.mu.RUnlock()
	switch {
	case m.manager.nodes != nil:
		m.awaitApplied(ctx, i.Revision)
	case settled != nil:
		select {
		case <-settled:
		case <-ctx.Done(): // the request is carried out all the same
		}
	}
	if now, _ := m.info(); now.Revision == i.Revision {
		return now
	}
	return i
}

// bury ends a life and keeps its counters. After a crash, or if another node may own
// the instance, it does not wait long.
func (m *member) bury(in *Instance, crash error) {
	m.mu.RLock()
	gently := crash == nil && !m.lost
	m.mu.RUnlock()
	timeout := m.manager.options.DrainTimeout
	if !gently {
		timeout = min(timeout, m.manager.options.Grace)
	}
	if crash != nil {
		m.setState(Pending, crash.Error()) // refuses new clients
	}
	ctx, cancel := context.WithTimeout(in.urgent, timeout)
	defer cancel()
	in.endLife(ctx, gently)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life, m.started = nil, time.Time{}
	m.past = sum(m.past, in.endpoint.Stats())
}

// crash records a crash and reports whether the instance is restarted.
func (m *member) crash(err error) (restart bool) {
	o := &m.manager.options
	now := o.Now()
	m.mu.Lock()
	m.crashed++
	m.crashes = slices.DeleteFunc(m.crashes, func(t time.Time) bool { return now.Sub(t) > o.CrashWindow })
	m.crashes = append(m.crashes, now)
	failed := len(m.crashes) > o.MaxCrashes
	m.reason = err.Error()
	if failed {
		m.state, m.failedAt = Failed, m.applied
	} else {
		m.state = Pending
		m.restarts++
	}
	m.tellLocked()
	m.mu.Unlock()
	m.startSettled()
	m.manager.notifyWatchers(m, EventCrashed, err.Error())
	if !failed {
		m.manager.log.Warn("instance crashed: it is restarted").Err(err).Str("instance", m.id).Write()
		return true
	}
	m.manager.notifyWatchers(m, EventFailed, err.Error())
	m.manager.log.Error("instance failed: it crashed too often").Err(err).Str("instance", m.id).Int("crashes", o.MaxCrashes+1).Str("within", o.CrashWindow.String()).Write()
	return false
}

// leaked notes a life whose goroutines have not ended.
func (m *member) leaked(in *Instance) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.leaks = append(m.leaks, in)
}

// stats returns the counters of all lives.
func (m *member) stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.countedLocked()
	if m.inherited != nil {
		s.Crashes += m.inherited.Crashed
		s.Restarts += m.inherited.Restarts
	}
	m.leaks = slices.DeleteFunc(m.leaks, func(in *Instance) bool { return in.liveGoroutines() == 0 })
	for _, in := range m.leaks {
		s.Leaked += in.liveGoroutines()
	}
	if in := m.life; in != nil {
		s.Goroutines = in.liveGoroutines()
		for range in.endpoint.Topics() {
			s.Topics++
		}
		s.Recorded = recordedIn(in.endpoint.History())
	}
	if !m.started.IsZero() {
		s.Uptime = units.Duration(m.manager.options.Now().Sub(m.started))
	}
	return s
}

// countedLocked returns the counters; mu must be held at least for reading.
func (m *member) countedLocked() Stats {
	s := Stats{Crashes: m.crashed, Restarts: m.restarts}
	if m.past != nil {
		s.add(*m.past)
	}
	if m.life != nil {
		s.add(m.life.endpoint.Stats())
	}
	return s
}

// sum adds the counters of an endpoint that has ended.
func sum(past *channels.Stats, ended channels.Stats) *channels.Stats {
	ended.Sockets, ended.Channels, ended.Callbacks, ended.LongPoll.Sessions = 0, 0, 0, 0
	if past != nil {
		ended.Add(*past)
	}
	return &ended
}

// dropMember removes a member from the manager, and what is recorded of it if it was an
// instance. A member without a record may have the id of an instance of the cluster that
// this node has not heard of.
func (m *Manager) dropMember(one *member) {
	counted := make(map[string]*Total)
	one.count(counted)
	one.mu.RLock()
	known := one.known
	one.mu.RUnlock()
	m.mu.Lock()
	if m.members[one.id] == one {
		delete(m.members, one.id)
		for name, t := range counted {
			totalOf(m.departed, name).addPast(t)
		}
	}
	m.mu.Unlock()
	if known || m.nodes == nil {
		m.options.History.Forget(one.id)
	}
	one.mu.Lock()
	one.gone, one.known = true, false
	one.mu.Unlock()
}

func (m *member) isGone() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.gone
}

func (m *member) setState(s State, reason string) {
	m.mu.Lock()
	m.state, m.reason = s, reason
	m.tellLocked()
	m.mu.Unlock()
}
