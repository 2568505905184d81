package instances

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/instances/internal/owners"
)

// away is the state of a member that does not run on this node: another node runs it,
// or none does. The state that others are shown then comes from its record, its owner
// and its status.
const away State = ""

// statusPrefix begins the keys by which nodes report the state of instances to each
// other: the owner writes "status.ID", and "status.ID.NODE" exists while an instance
// that spreads is idle on a node.
const statusPrefix = "status."

// status is what the owner of an instance reports about it to the other nodes and to
// the next owner.
type status struct {
	Node     string      `json:"node"`     // the owner
	Revision uint64      `json:"revision"` // of the spec that it runs with
	State    State       `json:"state"`
	Reason   string      `json:"reason,omitempty"`
	Started  time.Time   `json:"started,omitzero"`
	Crashes  []time.Time `json:"crashes,omitempty"` // the most recent, as in member.crashes
	Crashed  int64       `json:"crashed,omitempty"` // in all
	Restarts int64       `json:"restarts,omitempty"`
}

// isSettled reports whether the first start with this spec has succeeded or failed: a
// member that is pending again has a reason.
func (s *status) isSettled() bool { return s.State != Pending || s.Reason != "" }

// Reasons of a pending instance that no node runs.
const (
	reasonNoMajority = "this node cannot reach a majority of the cluster's nodes"
	reasonNoNode     = "no node has started it yet"
)

// learnStatus takes what a node has reported about an instance.
func (n *nodes) learnStatus(c Change) {
	id, node, ofNode := strings.Cut(strings.TrimPrefix(c.Entry.Key, statusPrefix), ".")
	if ofNode {
		n.learnIdle(id, node, !c.Deleted)
		return
	}
	var now status
	if !c.Deleted && json.Unmarshal(c.Entry.Value, &now) != nil {
		return // written by a version with another format
	}
	n.mu.Lock()
	before := n.statuses[id]
	if c.Deleted {
		delete(n.statuses, id)
	} else {
		n.statuses[id] = now
	}
	n.mu.Unlock()
	if now.Node != n.manager.options.Node {
		n.notify(id, &before, &now)
	}
}

func (n *nodes) learnIdle(id, node string, idle bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !idle {
		if delete(n.idle[id], node); len(n.idle[id]) == 0 {
			delete(n.idle, id)
		}
		return
	}
	if n.idle[id] == nil {
		n.idle[id] = make(map[string]time.Time)
	}
	n.idle[id][node] = n.manager.options.Now()
}

// notify tells watchers what has happened to an instance on another node.
func (n *nodes) notify(id string, before, now *status) {
	one, err := n.manager.find(id)
	if err != nil {
		return
	}
	if now.Crashed > before.Crashed {
		n.manager.notifyWatchers(one, EventCrashed, now.Reason)
	}
	switch {
	case now.State == before.State && now.Started.Equal(before.Started):
	case now.State == Running:
		n.manager.notifyWatchers(one, EventStarted, "")
	case now.State == Failed:
		n.manager.notifyWatchers(one, EventFailed, now.Reason)
	case now.State == Stopped:
		n.manager.notifyWatchers(one, EventStopped, now.Reason)
	}
}

// statusOf returns what the owner of an instance last reported.
func (n *nodes) statusOf(id string) status {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.statuses[id]
}

// lastStatus reads the status that the last owner left in the store.
func (n *nodes) lastStatus(ctx context.Context, id string) (s status, err error) {
	e, err := n.get(ctx, statusPrefix+id)
	if errors.Is(err, ErrKeyNotFound) {
		return s, nil
	}
	if err == nil {
		json.Unmarshal(e.Value, &s) //nolint:errcheck // an unreadable status counts as none
	}
	return s, err
}

// get reads a key of the store within requestTimeout.
func (n *nodes) get(ctx context.Context, key string) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return n.store.Get(ctx, key)
}

// shownLocked returns the state that others are shown of a member that is away. mu
// must be held at least for reading.
func (m *member) shownLocked() (s State, reason string, started time.Time) {
	n := m.manager.nodes
	owner, owned := n.owners.Owner(m.id)
	owned = owned && !owner.Self // else this node is about to run it, or has just lost it
	told := n.statusOf(m.id)
	current := owned && told.Node == owner.Node
	switch {
	case m.deleted != "":
		return Draining, m.deleted, time.Time{}
	case m.drained && owned && (!current || told.State != Stopped):
		return Draining, reasonDrained, time.Time{}
	case m.drained:
		return Stopped, reasonDrained, time.Time{}
	case current:
		return told.State, told.Reason, told.Started
	case m.invalid != "" && !owned:
		return Failed, m.invalid, time.Time{}
	case told.State == Failed && told.Revision == m.revision:
		return Failed, told.Reason, time.Time{}
	case !owned && !n.owners.Reachable():
		return Pending, reasonNoMajority, time.Time{}
	case !owned && !m.spreads(m.kind):
		return Pending, reasonNoNode, time.Time{}
	}
	return Pending, "", time.Time{}
}

// tellLocked has the status of a member that this node owns reported to the other
// nodes. mu must be held.
func (m *member) tellLocked() {
	if m.hold == nil || m.deleted != "" {
		return
	}
	m.untold = true
	if !m.telling {
		m.telling = true
		m.manager.nodes.work.Go(m.tell)
	}
}

// tell writes the status to the store until the latest one is there, or this node no
// longer owns the instance.
func (m *member) tell() {
	for {
		m.mu.Lock()
		hold := m.hold
		if hold == nil || m.deleted != "" || !m.untold {
			m.telling = false
			m.mu.Unlock()
			return
		}
		text := m.statusLocked()
		m.untold = false
		m.mu.Unlock()
		err := hold.Save(context.Background(), statusPrefix+m.id, text)
		if err == nil || errors.Is(err, owners.ErrLost) {
			continue
		}
		m.mu.Lock()
		m.untold = true
		m.mu.Unlock()
		time.Sleep(watchPause)
	}
}

// awaitTold waits until the latest status of a member is in the store, at most
// requestTimeout.
func (m *member) awaitTold() {
	for deadline := time.Now().Add(requestTimeout); m.isTelling() && time.Now().Before(deadline); {
		time.Sleep(pollEvery)
	}
}

func (m *member) isTelling() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.telling
}

// statusLocked encodes the status of a member; mu must be held.
func (m *member) statusLocked() []byte {
	s := status{
		Node: m.manager.options.Node, Revision: m.applied, State: m.state, Reason: m.reason, Started: m.started, Crashes: m.crashes,
		Crashed: m.crashed, Restarts: m.restarts,
	}
	if m.inherited != nil {
		s.Crashed += m.inherited.Crashed
		s.Restarts += m.inherited.Restarts
	}
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // plain values can always be encoded
	}
	return text
}
