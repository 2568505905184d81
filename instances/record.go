package instances

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Keys of the store: a record for each instance, and the states that types have
// saved.
const (
	specPrefix  = "spec."
	statePrefix = "state."
)

// record is what the store keeps of an instance; its revision is the store's.
type record struct {
	Spec    Spec      `json:"spec"`
	Created time.Time `json:"created"`
	Stopped bool      `json:"stopped,omitempty"` // drained, and stays so
	// Deleted is why the instance is being removed; the record goes last. Only
	// the records of a cluster have it.
	Deleted string `json:"deleted,omitempty"`
}

// writeRecord replaces a member's record at revision; a declared member has none. It
// goes on when ctx ends. In a cluster it gives up after requestTimeout; the store may
// still write the record then, and has another revision than the member.
func (m *Manager) writeRecord(ctx context.Context, one *member, r record, revision uint64) (uint64, error) {
	if one.declared {
		return revision + 1, nil
	}
	r.Created = one.created
	value, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	ctx = context.WithoutCancel(ctx)
	if m.nodes != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, requestTimeout)
		defer cancel()
	}
	revision, err = m.store.Put(ctx, specPrefix+one.id, value, revision)
	switch {
	case err == nil:
		return revision, nil
	case m.nodes != nil && !errors.Is(err, ErrKeyRevision):
		err = fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return 0, fmt.Errorf("instances: saving %q: %w", one.id, err)
}

// deleteRecord removes a member's record. Saved states are removed when the
// instance has ended, because until then it may still save.
func (m *Manager) deleteRecord(ctx context.Context, one *member) error {
	one.mu.RLock()
	revision := one.revision
	one.mu.RUnlock()
	if err := m.store.Delete(context.WithoutCancel(ctx), specPrefix+one.id, revision); err != nil {
		return fmt.Errorf("instances: removing %q: %w", one.id, err)
	}
	return nil
}

// forgetStates removes what a type has saved. If that fails, the next Open
// removes it.
func (m *Manager) forgetStates(one *member) {
	states, err := m.store.List(context.Background(), statePrefix+one.id+".")
	for _, e := range states {
		err = errors.Join(err, m.store.Delete(context.Background(), e.Key, AnyRevision))
	}
	if err != nil {
		m.log.Error("saved state not removed").Err(err).Str("instance", one.id).Write()
	}
}

// Open starts the instances in the store. Register all types first. Open
// returns when each instance has started or failed. An instance whose type or
// configuration is no longer accepted is failed, with the reason.
//
// In a cluster, Open waits only for the instances that run on all nodes, and at most
// 5 s for the store: a node that cannot reach the store still serves its declared
// instances of such types, and learns of the others later.
func (m *Manager) Open(ctx context.Context) error {
	if m.nodes != nil {
		return m.nodes.open(ctx)
	}
	entries, err := m.store.List(ctx, specPrefix)
	if err != nil {
		return fmt.Errorf("instances: reading the store: %w", err)
	}
	known := make(map[string]bool, len(entries))
	var started sync.WaitGroup
	for _, e := range entries {
		id := strings.TrimPrefix(e.Key, specPrefix)
		known[id] = true
		settled, err := m.restore(ctx, id, e)
		if err != nil {
			return err
		}
		if settled != nil {
			started.Go(func() { <-settled })
		}
	}
	if err := m.sweepStates(ctx, known); err != nil {
		return err
	}
	done := make(chan struct{})
	go func() { started.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// restore makes a member from a record. settled is closed when it has started
// or failed, and nil if it must not start.
func (m *Manager) restore(ctx context.Context, id string, e Entry) (settled <-chan struct{}, err error) {
	var r record
	if err := json.Unmarshal(e.Value, &r); err != nil {
		return nil, fmt.Errorf("instances: the store's record of %q is damaged, restore the store from a copy: %w", id, err)
	}
	if r.Spec.ID != id {
		return nil, fmt.Errorf("instances: the store's record of %q has the id %q: it is damaged or was edited, restore the store from a copy", id, r.Spec.ID)
	}
	one, isNew, err := m.reserve(ctx, id, false)
	if err != nil {
		return nil, err
	}
	defer one.unlock()
	if !isNew {
		return nil, fmt.Errorf("instances: %q is in the store and declared by the configuration: delete it, or declare another id", id)
	}
	m.warnOfLimits(&r.Spec)
	kind, invalid := m.prepare(&r.Spec, r.Spec.Limits, m.bounds())
	one.mu.Lock()
	one.known, one.spec, one.kind, one.revision, one.created = true, r.Spec, kind, e.Revision, r.Created
	switch {
	case r.Stopped:
		one.state, one.reason = Stopped, "drained"
	case invalid != nil:
		one.state, one.reason = Failed, invalid.Error()
	}
	start := one.state == ""
	one.mu.Unlock()
	if !start {
		m.applyHistory(one, kind, &r.Spec) // so that what it has stored goes with it if it is deleted
		return nil, nil
	}
	one.launch(nil, nil)
	return one.settled, nil
}

// sweepStates removes the states of instances that are gone, because the server
// was killed while it removed them.
func (m *Manager) sweepStates(ctx context.Context, known map[string]bool) error {
	states, err := m.store.List(ctx, statePrefix)
	if err != nil {
		return fmt.Errorf("instances: reading the store: %w", err)
	}
	for _, e := range states {
		id, _, _ := strings.Cut(strings.TrimPrefix(e.Key, statePrefix), ".")
		if known[id] || m.declares(id) {
			continue
		}
		if err := m.store.Delete(ctx, e.Key, AnyRevision); err != nil && !errors.Is(err, ErrKeyNotFound) {
			return fmt.Errorf("instances: removing what is left of %q: %w", id, err)
		}
	}
	return nil
}

func (m *Manager) declares(id string) bool {
	one, err := m.find(id)
	return err == nil && one.declared
}
