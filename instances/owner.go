package instances

import (
	"errors"
	"fmt"
)

// Owner is the node that runs an instance: see [Manager.Owner].
type Owner struct {
	// Node is the node's Options.Node, empty if it is this node and has no name.
	Node string
	// Address is the node's Options.Address, where other nodes reach it.
	Address string
	// Self reports that it is this node. It is true on every node for an instance
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

// ErrNoOwner: no node runs the instance at the moment. Its Info says why; a node
// starts it as soon as a majority of the nodes can be reached.
var ErrNoOwner = errors.New("instances: no node runs the instance at the moment")

// Owner returns the node that runs an instance. The error is ErrNotFound,
// ErrNoOwner, or ErrNotRunning if the instance was stopped or has failed.
// Without a cluster it is always this node. Owner asks nobody, so it does not
// block; what it returns may be some seconds old.
func (m *Manager) Owner(id string) (Owner, error) {
	one, err := m.find(id)
	if err != nil {
		return Owner{}, err
	}
	return m.ownerOf(one)
}

// ownerOf returns who runs a member.
func (m *Manager) ownerOf(*member) (Owner, error) {
	return Owner{Node: m.options.Node, Address: m.options.Address, Self: true}, nil
}

// refuseElsewhere returns the error of lookup for an instance that does not run
// here.
func (m *Manager) refuseElsewhere(one *member) error {
	owner, err := m.ownerOf(one)
	if err != nil || owner.Self || m.options.Elsewhere == nil {
		return errAway
	}
	return m.options.Elsewhere(one.id, owner)
}
