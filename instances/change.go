package instances

import (
	"context"
	"errors"
)

// change changes the record of an instance of the cluster. Each node acts on it when
// it learns of it. expected, if not nil, is the member that is meant.
func (n *nodes) change(ctx context.Context, id string, expected *member, revision uint64, change func(*record)) error {
	m := n.manager
	for {
		one, err := m.open(ctx, id, revision)
		if err != nil {
			return err
		}
		if expected != nil && one != expected { // another instance with the same id
			one.unlock()
			return ErrNotFound
		}
		err = n.changeOnce(ctx, one, change)
		again := m.changedElsewhere(ctx, one, &err)
		one.unlock()
		if again {
			continue
		}
		if err == nil {
			m.settleLater(one)
		}
		return err
	}
}

// changeOnce writes the changed record of a locked member.
func (n *nodes) changeOnce(ctx context.Context, one *member, change func(*record)) error {
	one.mu.RLock()
	before := record{Spec: one.spec, Created: one.created, Stopped: one.drained, Deleted: one.deleted}
	revision := one.revision
	one.mu.RUnlock()
	r := before
	if change(&r); r.Stopped && before.Stopped && r.Deleted == "" {
		return nil // it is stopped already
	}
	revision, err := n.manager.writeRecord(ctx, one, r, revision)
	if err == nil {
		n.adopt(one, r, revision)
	}
	return err
}

// resume is Manager.Resume.
func (n *nodes) resume(ctx context.Context, id string) (Info, error) {
	i, err := n.manager.Get(id)
	if err != nil {
		return Info{}, err
	}
	if i.State == Stopped || i.State == Failed || i.State == Draining {
		if err := n.change(ctx, id, nil, AnyRevision, func(r *record) { r.Stopped = false }); err != nil {
			return Info{}, err
		}
	}
	one, err := n.manager.find(id)
	if err != nil {
		return Info{}, err
	}
	i, _ = one.info()
	return one.afterStart(ctx, i), nil
}

// changedElsewhere reports whether a change of a locked member failed because another
// node had changed it: then the member has the newer record now, and the change can be
// tried again. err is set if that record cannot be read.
func (m *Manager) changedElsewhere(ctx context.Context, one *member, err *error) bool {
	if m.nodes == nil || !errors.Is(*err, ErrKeyRevision) {
		return false
	}
	*err = m.nodes.refresh(ctx, one)
	return *err == nil
}

// refresh reads the record of a locked member from the store. It returns ErrNotFound
// if there is none. A member that nobody has seen yet is dropped if it has no record
// or that cannot be read.
func (n *nodes) refresh(ctx context.Context, one *member) error {
	c, err := n.lookUp(ctx, one.id)
	one.mu.RLock()
	known := one.known
	one.mu.RUnlock()
	if err == nil && !c.Deleted {
		n.learn(one, !known, c)
		n.manager.settleLater(one)
		return nil
	}
	if !known {
		n.manager.dropMember(one)
	} else {
		n.enqueue(one.id, news{missing: true})
	}
	if err == nil {
		err = ErrNotFound
	}
	return err
}

// catchUp reads the record of an instance that a caller knows from another node, if
// this node has not seen the instance or that revision yet.
func (n *nodes) catchUp(ctx context.Context, id string, revision uint64) error {
	m := n.manager
	if i, err := m.Get(id); err == nil && (revision == AnyRevision || revision <= i.Revision) || !made(id, maxID, idAlphabet) {
		return nil
	}
	one, isNew, err := m.reserve(ctx, id, false)
	if err != nil {
		return err
	}
	defer one.unlock()
	if err := n.refresh(ctx, one); err != nil && (isNew || !errors.Is(err, ErrNotFound)) {
		return err
	}
	return nil
}

// settleLater has this node act on the record of a changed member: start or end it,
// and compete for it or stop doing so.
func (m *Manager) settleLater(one *member) {
	if m.nodes != nil {
		m.nodes.enqueue(one.id, news{})
	}
}

func (m *member) isDeleted() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.deleted != ""
}

// setApplied notes that a locked member's life has the spec of a revision.
func (m *member) setApplied(life *Instance, spec Spec, revision uint64) {
	if m.manager.nodes == nil {
		return
	}
	life.spec = &spec
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied = revision
	m.tellLocked()
}
