package instances

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// Create makes an instance from a spec and starts it. It is idempotent by id:
// if the instance exists with the same spec, Create returns it and created is
// false; if it exists with another spec, the error is a [*ConflictError]. When
// Create returns an Info, the spec is in the store and the first start has
// succeeded or failed: see its State.
func (m *Manager) Create(ctx context.Context, spec Spec) (i Info, created bool, err error) {
	return m.create(ctx, spec, false)
}

// Declare is Create for an instance from the program's configuration. The
// instance is not in the store, and cannot be changed or deleted otherwise.
// Declaring it again with another spec changes it like Update. Call Declare
// before Open.
func (m *Manager) Declare(ctx context.Context, spec Spec) (Info, error) {
	i, created, err := m.create(ctx, spec, true)
	var other *ConflictError
	if created || !errors.As(err, &other) {
		return i, err
	}
	one, err := m.find(spec.ID)
	if err != nil {
		return Info{}, err
	}
	if !one.declared {
		return Info{}, other
	}
	if err := one.lock(ctx); err != nil {
		return Info{}, err
	}
	defer one.unlock()
	return m.update(ctx, one, func(s *Spec) error { *s = spec.clone(); return nil })
}

func (m *Manager) create(ctx context.Context, spec Spec, declared bool) (i Info, created bool, err error) {
	spec = spec.clone()
	kind, err := m.prepare(&spec, Limits{}, m.bounds())
	if err != nil {
		return Info{}, false, err
	}
	for again := true; again; {
		i, created, again, err = m.createOnce(ctx, kind, spec, declared)
	}
	return i, created, err
}

// createOnce tries once to create an instance. again reports whether to retry, because
// another node has created or deleted an instance with the id meanwhile.
func (m *Manager) createOnce(ctx context.Context, kind *Type, spec Spec, declared bool) (i Info, created, again bool, err error) {
	one, isNew, err := m.reserve(ctx, spec.ID, declared)
	if err != nil {
		return Info{}, false, false, err
	}
	if !isNew {
		i, err := one.same(&spec)
		one.unlock()
		if errors.Is(err, ErrDraining) {
			err = m.awaitGone(ctx, one)
			return Info{}, false, err == nil, err
		}
		if err != nil {
			return Info{}, false, false, err
		}
		return one.afterStart(ctx, i), false, false, nil
	}
	err = m.found(ctx, one, kind, spec)
	if err != nil && m.nodes != nil && errors.Is(err, ErrKeyRevision) {
		err = m.nodes.refresh(ctx, one)
		one.unlock()
		return Info{}, false, err == nil || errors.Is(err, ErrNotFound), err
	}
	if err != nil {
		m.dropMember(one)
		one.unlock()
		return Info{}, false, false, err
	}
	i, _ = one.info()
	one.unlock()
	m.notifyWatchers(one, EventCreated, "")
	m.settleLater(one)
	return one.afterStart(ctx, i), true, false, nil
}

// awaitGone waits until a member that is being deleted is gone, at most
// Options.StartTimeout.
func (m *Manager) awaitGone(ctx context.Context, one *member) error {
	ctx, cancel := context.WithTimeout(ctx, m.options.StartTimeout)
	defer cancel()
	for !one.isGone() {
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return ErrDraining
		}
	}
	return nil
}

// prepare checks and normalizes a spec. Its limits must not be above bounds,
// unless they equal those of kept.
func (m *Manager) prepare(spec *Spec, kept Limits, bounds channels.Limits) (*Type, error) {
	if err := spec.normalize(); err != nil {
		return nil, err
	}
	wrong := append(spec.check(), spec.Limits.above(bounds, kept)...)
	wrong = append(wrong, m.cannotStore(spec)...)
	m.mu.RLock()
	kind := m.types[spec.Type]
	m.mu.RUnlock()
	if kind == nil {
		wrong.Add("/type", "%s", m.wrongType(spec.Type))
	} else {
		wrong = append(wrong, kind.schema.check(spec.Config)...)
	}
	return kind, wrong.Err()
}

func (m *Manager) wrongType(name string) string {
	if name == "" {
		return "is missing; the types of this server are " + m.typeNames()
	}
	return fmt.Sprintf("%q is not one of this server's types: %s", name, m.typeNames())
}

func (m *Manager) typeNames() string {
	names := ""
	for _, t := range m.Types() {
		if names != "" {
			names += ", "
		}
		names += t.name
	}
	return names
}

// reserve returns the member with an id, locked for a change. If there is none,
// it creates one that others cannot see yet.
func (m *Manager) reserve(ctx context.Context, id string, declared bool) (one *member, isNew bool, err error) {
	for {
		m.mu.Lock()
		if m.closed {
			m.mu.Unlock()
			return nil, false, ErrClosed
		}
		one = m.members[id]
		if one == nil {
			m.serial++
			one = &member{
				manager: m, id: id, declared: declared, serial: m.serial, ops: make(chan struct{}, 1), created: m.options.Now().UTC(),
			}
			one.ops <- struct{}{}
			m.members[id] = one
			m.mu.Unlock()
			return one, true, nil
		}
		m.mu.Unlock()
		if err := one.lock(ctx); err != nil {
			return nil, false, err
		}
		if !one.isGone() {
			return one, false, nil
		}
		one.unlock()
	}
}

// found gives a reserved member its spec, stores it, and starts the instance if it
// runs on this node.
func (m *Manager) found(ctx context.Context, one *member, kind *Type, spec Spec) (err error) {
	if m.nodes == nil && !one.declared {
		m.options.History.Forget(one.id) // of one that was being removed when the server was killed
	}
	var life *Instance
	if m.nodes == nil || one.spreads(kind) {
		life, err = m.build(one, kind, spec)
	} else {
		err = m.tryBuild(one, kind, spec)
	}
	if err != nil {
		return err
	}
	revision, err := m.writeRecord(ctx, one, record{Spec: spec}, 0)
	if err != nil {
		if life != nil {
			life.discard()
		}
		return err
	}
	one.mu.Lock()
	one.known, one.spec, one.kind, one.revision = true, spec, kind, revision
	one.mu.Unlock()
	if life != nil {
		one.launch(life, nil)
	}
	return nil
}

// same compares a spec with the member's.
func (m *member) same(spec *Spec) (Info, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.deleted != "" {
		return Info{}, ErrDraining
	}
	if fields := m.spec.differs(spec); len(fields) > 0 {
		return Info{}, &ConflictError{ID: m.id, Fields: fields}
	}
	return m.infoLocked(), nil
}
