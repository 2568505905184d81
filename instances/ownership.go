package instances

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/instances/internal/owners"
)

// own runs an instance that this node owns, until ctx ends: see owners.Options.
func (n *nodes) own(ctx context.Context, id string, hold *owners.Ownership) {
	m := n.manager
	one, err := m.find(id)
	if err != nil {
		return // it has just been deleted
	}
	if err := one.lock(ctx); err != nil {
		return
	}
	last, err := n.readAgain(ctx, one)
	if err != nil {
		one.unlock()
		return
	}
	one.takeHold(hold, last)
	m.settle(ctx, one)
	one.unlock()
	<-ctx.Done()
	if errors.Is(context.Cause(ctx), owners.ErrLost) {
		one.abandon()
	} else {
		one.awaitTold()
	}
	one.lock(context.Background()) //nolint:errcheck // the context never ends
	defer one.unlock()
	one.dropHold()
	m.settle(ctx, one)
}

// readAgain reads from the store what this node must know of a locked member before
// it runs it: its record, which may have changed or been removed while this node was
// cut off, and the status that the last owner left. Nobody else removes the record
// once this node is the owner. readAgain retries until ctx ends; the error is
// ErrNotFound if there is no record.
func (n *nodes) readAgain(ctx context.Context, one *member) (last status, err error) {
	for {
		if !one.declared {
			err = n.refresh(ctx, one)
		}
		if err == nil {
			last, err = n.lastStatus(ctx, one.id)
		}
		if err == nil || errors.Is(err, ErrNotFound) {
			return last, err
		}
		select {
		case <-time.After(watchPause):
		case <-ctx.Done():
			return last, err
		}
	}
}

// takeHold makes this node the owner of a member, and continues the counters of the
// last owner's status.
func (m *member) takeHold(hold *owners.Ownership, last status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hold, m.lost = hold, false
	if m.spreads(m.kind) {
		return // it is owned only to be removed
	}
	m.inherited = &last
	last.Crashed -= m.crashed // which this node has counted itself
	last.Restarts -= m.restarts
	if last.State == Failed && last.Revision == m.revision {
		m.state, m.reason, m.failedAt, m.applied = Failed, last.Reason, m.revision, m.revision
		m.tellLocked()
	}
}

func (m *member) dropHold() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hold = nil
}

// prepare sets the fields that a life has only in a cluster.
func (n *nodes) prepare(in *Instance, kind *Type, spec Spec) {
	in.spec = &spec
	in.urgent, in.hurry = context.WithCancel(in.urgent)
	if !in.owner.spreads(kind) {
		in.hold = in.owner.ownership()
	}
}

// ownership returns what a member saves its state with, nil if this node does not
// own it.
func (m *member) ownership() *owners.Ownership {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.hold
}

// abandon closes the sockets of a life that another node may have begun to
// run. It does not wait for changes in progress, because what is left of the
// lease is short. settle ends the rest.
func (m *member) abandon() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lost = true
	life := m.life
	if life == nil || m.spreads(m.kind) {
		return
	}
	m.state, m.reason = Draining, reasonLost
	m.manager.log.Warn("instance stops here: this node no longer owns it").Str("instance", m.id).Write()
	m.manager.nodes.work.Go(func() {
		ctx, cancel := context.WithTimeout(life.urgent, abandonTime)
		defer cancel()
		life.note(life.endpoint.Shutdown(ctx))
		life.hurry()
	})
}

// abandonTime bounds the closing of a lost instance's sockets: this node gives up
// 3 s before others may run the instance.
const abandonTime = time.Second

// Reasons of a draining instance.
const (
	reasonDrained    = "drained"
	reasonHandedOver = "handed over to another node"
	reasonLost       = "this node lost it: it could not reach a majority of the cluster's nodes"
)

// shouldRun reports whether a member is to run on this node.
func (m *member) shouldRun() bool {
	closed := m.manager.isClosed()
	m.mu.RLock()
	defer m.mu.RUnlock()
	return !closed && !m.gone && !m.drained && m.deleted == "" && m.invalid == "" && (m.spreads(m.kind) || m.hold != nil && !m.lost)
}

// settle brings a locked member on this node into line with its record and its
// owner: it starts it, ends it, or applies a changed spec. It does not wait for a
// start to finish. ctx is that of the ownership, if there is one.
func (m *Manager) settle(ctx context.Context, one *member) {
	one.mu.RLock()
	state, gone, deleted, hold := one.state, one.gone, one.deleted, one.hold
	retry := state == Failed && one.failedAt != one.revision
	var crashes []time.Time
	if one.inherited != nil {
		crashes = slices.Clone(one.inherited.Crashes)
	}
	one.mu.RUnlock()
	run := one.shouldRun()
	switch {
	case gone:
		return
	case run && (state == away || state == Stopped):
		one.launch(nil, crashes)
	case run && retry:
		one.halt()
		one.launch(nil, nil)
	case run && state != Failed:
		m.applySpec(one)
	case !run && state == Stopped && hold == nil:
		one.setState(away, "")
	case !run && state != away && state != Stopped:
		m.endHere(one)
	}
	if deleted != "" && hold != nil {
		m.nodes.finish(ctx, one, hold)
	}
}

// endHere ends the life of a locked member on this node.
func (m *Manager) endHere(one *member) {
	one.mu.RLock()
	state, drained, deleted, hold, lost := one.state, one.drained, one.deleted, one.hold, one.lost
	one.mu.RUnlock()
	reason := reasonHandedOver
	switch {
	case lost:
		reason = reasonLost
	case deleted != "":
		reason = deleted
	case drained:
		reason = reasonDrained
	}
	if state != Failed {
		one.setState(Draining, reason)
	}
	if reason == reasonHandedOver || reason == reasonLost {
		m.notifyWatchers(one, EventDraining, reason)
	}
	one.halt()
	if reason != reasonDrained || hold == nil {
		one.setState(away, "")
	} else {
		one.setState(Stopped, reason) // which the other nodes are told
	}
	if reason == reasonDrained {
		m.notifyWatchers(one, EventStopped, reason)
	}
}

// finish removes the stored states of a member that is being deleted, and then its
// record. It retries until that is done, or until another node has to do it.
func (n *nodes) finish(ctx context.Context, one *member, hold *owners.Ownership) {
	for ctx.Err() == nil {
		err := n.removeAll(ctx, one.id, hold)
		if err == nil || errors.Is(err, owners.ErrLost) {
			return
		}
		n.manager.log.Warn("a deleted instance is not removed yet").Err(err).Str("instance", one.id).Write()
		select {
		case <-time.After(watchPause):
		case <-ctx.Done():
		}
	}
}

func (n *nodes) removeAll(ctx context.Context, id string, hold *owners.Ownership) error {
	keys := []string{statusPrefix + id, specPrefix + id}
	for _, prefix := range []string{statusPrefix + id + ".", statePrefix + id + "."} {
		entries, err := n.list(ctx, prefix)
		if err != nil {
			return err
		}
		for _, e := range entries {
			keys = slices.Insert(keys, 0, e.Key)
		}
	}
	for _, key := range keys { // the record is the last
		if err := hold.Delete(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

func (n *nodes) list(ctx context.Context, prefix string) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return n.store.List(ctx, prefix)
}
