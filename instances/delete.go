package instances

import (
	"context"
)

// Delete drains an instance and removes it, with everything that its type has
// saved. When Delete returns, the instance is gone from the store. Its sockets
// are then closed at the pace of the host's Drain, and it is listed as draining
// until that is done.
func (m *Manager) Delete(ctx context.Context, id string, revision uint64) error {
	if m.nodes != nil {
		return m.nodes.change(ctx, id, nil, revision, func(r *record) { r.Deleted = "deleted" })
	}
	one, err := m.find(id)
	if err != nil {
		return err
	}
	return m.remove(ctx, one, revision, "deleted")
}

func (m *Manager) remove(ctx context.Context, one *member, revision uint64, reason string) error {
	if m.nodes != nil {
		return m.nodes.change(ctx, one.id, one, revision, func(r *record) { r.Deleted = reason })
	}
	opened, err := m.open(ctx, one.id, revision)
	if err != nil {
		return err
	}
	if opened != one { // another instance with the same id
		opened.unlock()
		return ErrNotFound
	}
	if err := m.deleteRecord(ctx, one); err != nil {
		one.unlock()
		return err
	}
	one.setState(Draining, reason)
	m.notifyWatchers(one, EventDraining, reason)
	m.endInBackground(one, func() {
		m.forgetStates(one)
		one.setState(Stopped, reason)
		m.notifyWatchers(one, EventDeleted, reason)
		m.dropMember(one)
	})
	return nil
}

// Drain closes an instance's sockets at the pace of the host's Drain, and stops
// it. The instance stays listed, and stopped even after a restart of the
// server, until it is resumed or deleted. When Drain returns, this is in the
// store and draining has begun.
func (m *Manager) Drain(ctx context.Context, id string) error {
	if m.nodes != nil {
		return m.nodes.change(ctx, id, nil, AnyRevision, func(r *record) { r.Stopped = true })
	}
	one, err := m.open(ctx, id, AnyRevision)
	if err != nil {
		return err
	}
	i, _ := one.info()
	if i.State == Stopped {
		one.unlock()
		return nil
	}
	if err := m.keepStopped(ctx, one, true); err != nil {
		one.unlock()
		return err
	}
	one.setState(Draining, "drained")
	m.notifyWatchers(one, EventDraining, "drained")
	m.endInBackground(one, func() {
		one.setState(Stopped, "drained")
		m.notifyWatchers(one, EventStopped, "drained")
	})
	return nil
}

// Resume starts an instance that is stopped or has failed, and does nothing for
// any other. When it returns an Info, the start has succeeded or failed: see
// its State. An instance whose type or configuration is no longer accepted fails
// with the reason, as in Open.
func (m *Manager) Resume(ctx context.Context, id string) (Info, error) {
	if m.nodes != nil {
		return m.nodes.resume(ctx, id)
	}
	one, err := m.open(ctx, id, AnyRevision)
	if err != nil {
		return Info{}, err
	}
	i, err := m.resume(ctx, one)
	one.unlock()
	if err != nil {
		return Info{}, err
	}
	return one.afterStart(ctx, i), nil
}

// resume carries out Resume on a locked member.
func (m *Manager) resume(ctx context.Context, one *member) (Info, error) {
	i, _ := one.info()
	if i.State != Stopped && i.State != Failed {
		return i, nil
	}
	if err := m.keepStopped(ctx, one, false); err != nil {
		return Info{}, err
	}
	one.halt() // the rest of a failed life
	if err := m.acceptAgain(one); err != nil {
		one.setState(Failed, err.Error())
	} else {
		one.launch(nil, nil)
	}
	i, _ = one.info()
	return i, nil
}

// acceptAgain checks the spec of a locked member as restore does: it may be older than the
// types and limits of this server.
func (m *Manager) acceptAgain(one *member) error {
	one.mu.RLock()
	spec := one.spec.clone()
	one.mu.RUnlock()
	kind, err := m.prepare(&spec, spec.Limits, m.bounds())
	one.mu.Lock()
	one.kind = kind
	one.mu.Unlock()
	return err
}

func (m *Manager) keepStopped(ctx context.Context, one *member, stopped bool) error {
	one.mu.RLock()
	spec, revision := one.spec, one.revision
	one.mu.RUnlock()
	revision, err := m.writeRecord(ctx, one, record{Spec: spec, Stopped: stopped}, revision)
	if err != nil {
		return err
	}
	one.mu.Lock()
	one.revision = revision
	one.mu.Unlock()
	return nil
}

// endInBackground ends a locked member's life in the background, and then calls
// then.
func (m *Manager) endInBackground(one *member, then func()) {
	running := m.background(func(context.Context) {
		defer one.unlock()
		one.halt()
		then()
	})
	if !running {
		one.unlock() // Close ends it
	}
}
