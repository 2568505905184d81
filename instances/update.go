package instances

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/mycelium-rt/mycelium/fielderr"
)

// Update changes an instance's spec. revision is the one that the caller has
// seen, or AnyRevision; if the instance has another revision, Update returns a
// [*RevisionError]. change gets the present spec and may change everything
// except its ID. Changes of labels, history and the idle time do not affect clients;
// changed limits apply to clients that connect from then on; the type's
// [Configurer] handles a changed configuration. Any other change restarts the
// instance, and its clients reconnect. A failed instance is started again. When
// Update returns an Info, the change is in the store, and a start that it
// needed has succeeded or failed: see its State.
func (m *Manager) Update(ctx context.Context, id string, revision uint64, change func(*Spec) error) (Info, error) {
	for {
		one, err := m.open(ctx, id, revision)
		if err != nil {
			return Info{}, err
		}
		i, err := m.update(ctx, one, change)
		again := m.changedElsewhere(ctx, one, &err)
		one.unlock()
		switch {
		case again:
			continue
		case err != nil:
			return Info{}, err
		}
		m.settleLater(one)
		return one.afterStart(ctx, i), nil
	}
}

// update carries out Update on a locked member.
func (m *Manager) update(ctx context.Context, one *member, change func(*Spec) error) (Info, error) {
	now, _ := one.info()
	spec := now.clone()
	if err := change(&spec); err != nil {
		return Info{}, err
	}
	if spec.ID != one.id {
		return Info{}, fielderr.New("/id", "cannot be changed: create another instance")
	}
	kind, err := m.prepare(&spec, now.Limits, m.bounds())
	if err != nil {
		return Info{}, err
	}
	fields := now.differs(&spec)
	if len(fields) == 0 && now.State != Failed {
		return now, nil
	}
	if err := m.applyUpdate(ctx, one, kind, spec, fields); err != nil {
		return Info{}, err
	}
	m.notifyWatchers(one, EventUpdated, "")
	i, _ := one.info()
	return i, nil
}

// open returns the member with an id, locked for a change.
func (m *Manager) open(ctx context.Context, id string, revision uint64) (*member, error) {
	if m.nodes != nil {
		if err := m.nodes.catchUp(ctx, id, revision); err != nil {
			return nil, err
		}
	}
	one, err := m.find(id)
	if err != nil {
		return nil, err
	}
	if err := one.lock(ctx); err != nil {
		return nil, err
	}
	i, ok := one.info()
	switch {
	case !ok, one.isDeleted():
		err = ErrNotFound
	case one.declared:
		err = ErrDeclared
	case revision != AnyRevision && revision != i.Revision:
		err = &RevisionError{Want: revision, Have: i.Revision}
	case m.isClosed():
		err = ErrClosed
	}
	if err != nil {
		one.unlock()
		return nil, err
	}
	return one, nil
}

func (m *Manager) isClosed() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.closed
}

// applyUpdate carries out an update of a locked member.
func (m *Manager) applyUpdate(ctx context.Context, one *member, kind *Type, spec Spec, fields []string) error {
	one.mu.RLock()
	life, revision := one.life, one.revision
	r := record{Spec: spec, Stopped: one.state == Stopped || one.drained}
	one.mu.RUnlock()
	how, next, err := m.tryUpdate(ctx, one, kind, spec, fields)
	if err != nil {
		return err
	}
	if revision, err = m.writeRecord(ctx, one, r, revision); err != nil {
		switch {
		case next != nil:
			next.discard()
		case how == byConfigure && m.nodes != nil:
			life.spec = &spec // settle returns it to the configuration that was kept
			m.settleLater(one)
		case how == byConfigure:
			life.crash(fmt.Errorf("a changed configuration could not be kept: %w", err)) // return to the old configuration
		}
		return err
	}
	one.mu.Lock()
	one.spec, one.kind, one.revision = spec, kind, revision
	one.mu.Unlock()
	m.applyHistory(one, kind, &spec)
	return m.finishUpdate(one, how, next, fields)
}

// tryUpdate does what may refuse an update: it has the logic of a locked member
// take the configuration, or makes the next life.
func (m *Manager) tryUpdate(ctx context.Context, one *member, kind *Type, spec Spec, fields []string) (how howTo, next *Instance, err error) {
	one.mu.RLock()
	life, state, moves := one.life, one.state, one.spreads(kind) != one.spreads(one.kind)
	one.mu.RUnlock()
	if m.nodes != nil && (state == away || moves) {
		return bySettling, nil, m.tryBuild(one, kind, spec)
	}
	how = howToChange(state, fields)
	if how < byRestart && slices.Contains(fields, "hooks") {
		if err := m.tryBuild(one, kind, spec); err != nil { // it also checks hooks
			return how, nil, err
		}
	}
	if how == byConfigure {
		taken, err := life.configure(ctx, kind, spec.Config)
		if taken {
			return how, nil, err
		}
		how = byRestart
	}
	if how == byRestart || how == whenStopped {
		next, err = m.build(one, kind, spec) // this also checks whether the type accepts it
	}
	return how, next, err
}

// finishUpdate has a locked member that has a new spec serve with it.
func (m *Manager) finishUpdate(one *member, how howTo, next *Instance, fields []string) (err error) {
	one.mu.RLock()
	life, spec, revision := one.life, one.spec, one.revision
	one.mu.RUnlock()
	switch {
	case how == bySettling: // settle does it, on the node that runs it
		return nil
	case how == byRestart:
		one.halt()
		one.launch(next, nil)
		return nil
	case how == whenStopped:
		next.discard()
		return nil
	case life == nil:
		return nil
	}
	one.setApplied(life, spec, revision)
	chs := life.channels
	if how == byConfigure {
		if chs, err = life.rechannel(); err != nil {
			return err
		}
	}
	so, err := m.remadeSockets(life, spec, fields)
	if err != nil {
		return err
	}
	return life.remount(m.limitsOf(spec), so, chs)
}

// howTo is how a change is carried out.
type howTo int

const (
	silently howTo = iota
	byConfigure
	byRestart
	whenStopped
	bySettling // in a cluster, where another node may run it
)

func howToChange(s State, fields []string) howTo {
	how := silently
	for _, f := range fields {
		switch f {
		case "labels", "idle_ttl", "limits", "history", "hooks":
		case "config":
			how = max(how, byConfigure)
		default:
			how = byRestart
		}
	}
	switch {
	case s == Stopped:
		return whenStopped
	case s == Failed, how == byConfigure && s != Running:
		return byRestart
	}
	return how
}

// configure passes a changed configuration to the logic; taken is false if it
// wants to be restarted instead. If the logic does not return within
// Options.StartTimeout it is crashed, even if ctx has ended, because its
// configuration is unknown.
func (in *Instance) configure(ctx context.Context, kind *Type, config json.RawMessage) (taken bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), in.owner.manager.options.StartTimeout)
	defer cancel()
	type outcome struct {
		taken bool
		err   error
	}
	returned := make(chan outcome, 1) // the hook may be abandoned, and send later
	var begun atomic.Bool
	err = in.hook(ctx, "Configure", func() error {
		begun.Store(true)
		taken, err := kind.reconfigure(ctx, in.logic, config)
		returned <- outcome{taken, err}
		return err
	})
	in.crashOn(err)
	select {
	case o := <-returned: // what it says counts, even if the time was over in the same moment
		return o.taken, o.err
	default: // it has panicked, or is late
		if taken = ctx.Err() != nil; taken && begun.Load() {
			in.crash(fmt.Errorf("configure: %w", err))
		}
	}
	return taken, err
}
