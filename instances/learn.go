package instances

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// apply applies news of an instance: it learns the record, acts on it, and competes
// for the instance or stops doing so.
func (n *nodes) apply(id string, what news) {
	m := n.manager
	if what.forget {
		n.stopCompeting(id)
	}
	one, isNew, err := m.reserve(m.ctx, id, false)
	if err != nil {
		return // the manager is closed
	}
	if what.missing && (what.record == nil || what.record.Deleted) {
		what.record, err = n.lookUp(m.ctx, id)
	}
	switch {
	case err != nil:
		m.log.Warn("a record of the cluster cannot be read").Err(err).Str("instance", id).Write()
	case what.record != nil:
		isNew = n.learn(one, isNew, what.record)
	}
	if isNew { // it has no record
		m.dropMember(one)
	}
	m.settle(m.ctx, one)
	wanted := one.isWanted()
	one.unlock()
	if wanted {
		n.owners.Want(id)
	} else {
		n.stopCompeting(id)
	}
}

// stopCompeting gives up an instance. If it runs here, stopCompeting waits until it has
// ended.
func (n *nodes) stopCompeting(id string) {
	m := n.manager
	if err := n.owners.Forget(m.ctx, id); err != nil && m.ctx.Err() == nil {
		m.log.Warn("the owner of an instance was not removed from the store").Err(err).Str("instance", id).Write()
	}
}

// lookUp reads the record of an instance from the store, as a change.
func (n *nodes) lookUp(ctx context.Context, id string) (*Change, error) {
	e, err := n.get(ctx, specPrefix+id)
	if errors.Is(err, ErrKeyNotFound) {
		return &Change{Entry: Entry{Revision: AnyRevision}, Deleted: true}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return &Change{Entry: e}, nil
}

// learn takes a change of a locked member's record, unless it is known already.
// unknown reports whether the member still has no record.
func (n *nodes) learn(one *member, isNew bool, c *Change) (unknown bool) {
	m := n.manager
	one.mu.RLock()
	revision, created := one.revision, one.created
	one.mu.RUnlock()
	if one.declared {
		if !c.Deleted {
			m.log.Error("an instance of the cluster has the id of a declared one, which hides it on this node").Str("instance", one.id).Write()
		}
		return false
	}
	if !isNew && c.Entry.Revision <= revision {
		return false
	}
	var r record
	if !c.Deleted {
		if err := json.Unmarshal(c.Entry.Value, &r); err != nil || r.Spec.ID != one.id {
			m.log.Error("a record of the cluster is damaged").Err(err).Str("instance", one.id).Write()
			return isNew
		}
	}
	switch {
	case c.Deleted && isNew:
		return true
	case c.Deleted:
		m.removeHere(one)
	case isNew:
		n.adopt(one, r, c.Entry.Revision)
		m.notifyWatchers(one, EventCreated, "")
	case !r.Created.Equal(created): // it was deleted and created again
		m.removeHere(one)
		n.enqueue(one.id, news{record: c, forget: true})
	default:
		n.adopt(one, r, c.Entry.Revision)
	}
	return false
}

// adopt gives a locked member a new record. settle then acts on it.
func (n *nodes) adopt(one *member, r record, revision uint64) {
	m := n.manager
	m.warnOfLimits(&r.Spec)
	kind, err := m.prepare(&r.Spec, r.Spec.Limits, m.bounds())
	one.mu.Lock()
	changed := one.known && len(one.spec.differs(&r.Spec)) > 0
	stops := !one.drained && r.Stopped || one.deleted == "" && r.Deleted != ""
	one.known, one.spec, one.kind, one.revision, one.created = true, r.Spec, kind, revision, r.Created
	one.drained, one.deleted, one.invalid = r.Stopped, r.Deleted, ""
	if err != nil {
		one.invalid = err.Error()
	}
	one.mu.Unlock()
	if err != nil {
		m.log.Error("this node cannot run an instance of the cluster").Err(err).Str("instance", one.id).Write()
	}
	if kind != nil && m.sharesHistory(one, kind) {
		m.applyHistory(one, kind, &r.Spec) // its messages come whether or not it runs here
	}
	if changed {
		m.notifyWatchers(one, EventUpdated, "")
	}
	if stops {
		reason := r.Deleted
		if reason == "" {
			reason = reasonDrained
		}
		m.notifyWatchers(one, EventDraining, reason)
	}
}

// removeHere ends and drops a locked member whose record is gone.
func (m *Manager) removeHere(one *member) {
	one.mu.Lock()
	if one.deleted == "" {
		one.deleted = "deleted"
	}
	state, reason := one.state, one.deleted
	one.mu.Unlock()
	if state != away {
		m.endHere(one)
	}
	m.notifyWatchers(one, EventDeleted, reason)
	m.dropMember(one)
}

// isWanted reports whether this node is to compete for a member.
func (m *member) isWanted() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	switch {
	case m.gone || !m.known:
		return false
	case m.deleted != "":
		return true // its owner removes it
	}
	return !m.drained && m.invalid == "" && !m.spreads(m.kind)
}

// applySpec applies a changed spec to the life of a locked member.
func (m *Manager) applySpec(one *member) {
	one.mu.RLock()
	life, state, spec, kind, revision := one.life, one.state, one.spec, one.kind, one.revision
	one.mu.RUnlock()
	if life == nil { // the next one gets it
		return
	}
	fields := life.spec.differs(&spec)
	how := howToChange(state, fields)
	if how == byConfigure && !m.applyConfig(life, kind, spec, fields) {
		how = byRestart // another node has already accepted the change
	}
	if how == byRestart {
		one.halt()
		one.launch(nil, nil)
		return
	}
	m.applyHistory(one, kind, &spec)
	if len(fields) > 0 && how == silently {
		life.spec = &spec
		so, err := m.remadeSockets(life, spec, fields)
		if err == nil {
			err = life.remount(m.limitsOf(spec), so, life.channels)
		}
		life.note(err)
	}
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.applied != revision {
		one.applied = revision
		one.tellLocked()
	}
}

// applyConfig passes a changed configuration to the logic of a life, and reports
// whether the logic has taken it.
func (m *Manager) applyConfig(life *Instance, kind *Type, spec Spec, fields []string) bool {
	taken, err := life.configure(m.ctx, kind, spec.Config)
	if !taken || err != nil {
		return false
	}
	life.spec = &spec
	chs, err := life.rechannel()
	if err != nil {
		return false
	}
	so, err := m.remadeSockets(life, spec, fields)
	return err == nil && life.remount(m.limitsOf(spec), so, chs) == nil
}

// awaitApplied waits until a node has started an instance with the spec of a
// revision or has failed to, or until there is nothing to start.
func (m *member) awaitApplied(ctx context.Context, revision uint64) {
	ctx, cancel := context.WithTimeout(ctx, 2*m.manager.options.StartTimeout)
	defer cancel()
	for !m.isApplied(revision) {
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done(): // the change is still carried out
			return
		}
	}
}

func (m *member) isApplied(revision uint64) bool {
	n := m.manager.nodes
	m.mu.RLock()
	defer m.mu.RUnlock()
	switch {
	case m.gone || m.drained || m.deleted != "" || m.invalid != "" || m.revision > revision:
		return true
	case m.state != away:
		return m.applied >= revision && m.hasSettledLocked()
	}
	told := n.statusOf(m.id)
	owner, owned := n.owners.Owner(m.id)
	return owned && told.Node == owner.Node && told.Revision >= revision && told.isSettled()
}

// hasSettledLocked reports whether the first start here has succeeded or failed.
func (m *member) hasSettledLocked() bool {
	if m.settled == nil {
		return m.state == Failed
	}
	select {
	case <-m.settled:
		return true
	default:
		return false
	}
}

// starting reports whether the first start of a life is in progress on this node.
func (m *member) starting() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.state == Pending && m.settled != nil && !m.hasSettledLocked()
}
