package instances

import (
	"fmt"
)

// Owner is the node that runs an instance: see [Manager.Owner].
type Owner struct {
	// Node is the node's Options.Node, empty if it is this node and has no name.
	Node string
	// Address is the node's Options.Address, where other nodes reach it.
	Address string
	// Self reports whether it is this node. It is true on every node for an instance
	// whose type spreads.
	Self bool
}

// ElsewhereError is the error of a method that needs the running instance, such
// as [Manager.Signal] or [Manager.Sockets], when another node runs it. The
// caller can ask that node instead.
type ElsewhereError struct {
	ID    string
	Owner Owner
}

func (e *ElsewhereError) Error() string {
	return fmt.Sprintf("instances: the node %s at %s runs the instance %q, ask it there", e.Owner.Node, e.Owner.Address, e.ID)
}

// Owner returns the node that runs an instance. The error is ErrNotFound,
// ErrNoOwner, or ErrNotRunning if the instance was stopped or has failed.
// Without a cluster it is always this node. Owner asks no other node, so it does not
// block; what it returns may be some seconds old.
func (m *Manager) Owner(id string) (Owner, error) {
	one, err := m.find(id)
	if err != nil {
		return Owner{}, err
	}
	one.mu.RLock()
	defer one.mu.RUnlock()
	return one.ownerLocked()
}

// ownerLocked returns who runs a member; mu must be held at least for reading.
func (m *member) ownerLocked() (Owner, error) {
	o := &m.manager.options
	if m.manager.nodes == nil || m.state != away || m.spreads(m.kind) {
		return Owner{Node: o.Node, Address: o.Address, Self: true}, nil
	}
	if owner, ok := m.manager.nodes.owners.Owner(m.id); ok && !owner.Self {
		return Owner{Node: owner.Node, Address: owner.Address}, nil
	}
	if s, _, _ := m.shownLocked(); s == Stopped || s == Failed {
		return Owner{}, ErrNotRunning
	}
	return Owner{}, ErrNoOwner
}

// elsewhereLocked returns the error of a method that needs a life which this node
// does not have.
func (m *member) elsewhereLocked() error {
	owner, err := m.ownerLocked()
	switch {
	case err != nil:
		return err
	case owner.Self:
		return ErrNotRunning
	}
	return &ElsewhereError{ID: m.id, Owner: owner}
}

// nodeLocked returns Info.Node; mu must be held at least for reading.
func (m *member) nodeLocked() string {
	if m.manager.nodes == nil || m.spreads(m.kind) {
		return ""
	}
	if m.hold != nil {
		return m.manager.options.Node
	}
	owner, _ := m.manager.nodes.owners.Owner(m.id)
	return owner.Node
}

// refuseElsewhere returns the error of lookup for an instance that does not run
// here.
func (m *Manager) refuseElsewhere(one *member) error {
	one.mu.RLock()
	owner, err := one.ownerLocked()
	one.mu.RUnlock()
	if err != nil || owner.Self || m.options.Elsewhere == nil {
		return errAway
	}
	return m.options.Elsewhere(one.id, owner)
}
