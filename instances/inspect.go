package instances

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/presence"
)

// Stats returns an instance's counters. For an instance that runs on all nodes
// they are those of this node; for one that another node runs, the error is an
// [*ElsewhereError].
func (m *Manager) Stats(id string) (Stats, error) {
	found, err := m.find(id)
	if err != nil {
		return Stats{}, err
	}
	found.mu.RLock()
	owner, err := found.ownerLocked()
	found.mu.RUnlock()
	if err == nil && !owner.Self {
		return Stats{}, &ElsewhereError{ID: id, Owner: owner}
	}
	return found.stats(), nil
}

// Glance is what [Manager.Survey] returns about an instance.
type Glance struct {
	ID       string
	Type     string
	State    State
	Reason   string // as Info has it
	Node     string // as Info has it
	Declared bool
	// Stats lacks Topics, Recorded, Leaked, Goroutines and Uptime, which cost more: see
	// [Manager.Stats]. They are those of this node.
	Stats Stats
}

// Survey returns a glance at every instance, in no particular order. It costs
// about a microsecond for each, regardless of its topics and clients, so it can
// be called often.
func (m *Manager) Survey() []Glance {
	m.mu.RLock()
	members := slices.Collect(maps.Values(m.members))
	m.mu.RUnlock()
	seen := make([]Glance, 0, len(members))
	for _, one := range members {
		one.mu.RLock()
		if one.known {
			state, reason, _ := one.stateLocked()
			seen = append(seen, Glance{one.id, one.spec.Type, state, reason, one.nodeLocked(), one.declared, one.countedLocked()})
		}
		one.mu.RUnlock()
	}
	return seen
}

// Presence returns who is present on a topic of an instance, by key. It is
// empty if the type does not track presence.
func (m *Manager) Presence(id, topic string) (map[string]presence.Entry, error) {
	in, err := m.alive(id)
	if err != nil {
		return nil, err
	}
	return in.Presence().List(topic), nil
}

// Topics returns the topics of an instance that have subscribers, most
// subscribers first, at most limit; 0 means all.
func (m *Manager) Topics(id string, limit int) ([]Topic, error) {
	in, err := m.alive(id)
	if err != nil {
		return nil, err
	}
	list := []Topic{}
	for topic, n := range in.endpoint.Topics() {
		list = append(list, Topic{topic, n})
	}
	slices.SortFunc(list, func(a, b Topic) int {
		return cmp.Or(cmp.Compare(b.Subscribers, a.Subscribers), cmp.Compare(a.Topic, b.Topic))
	})
	if limit > 0 && len(list) > limit {
		list = list[:limit]
	}
	return list, nil
}

// FindSockets returns a page of the connected sockets of an instance on this node, as
// [channels.Endpoint.FindSockets] does.
func (m *Manager) FindSockets(id string, q channels.SocketQuery) ([]channels.SocketInfo, error) {
	in, err := m.alive(id)
	if err != nil {
		return nil, err
	}
	return in.endpoint.FindSockets(q), nil
}

// Users returns a page of the users who are connected to an instance on this node, as
// [channels.Endpoint.Users] does.
func (m *Manager) Users(id, after string, limit int) ([]channels.UserInfo, error) {
	in, err := m.alive(id)
	if err != nil {
		return nil, err
	}
	return in.endpoint.Users(after, limit), nil
}

// UserNames returns the users who are connected to an instance on this node, as
// [channels.Endpoint.UserNames] does.
func (m *Manager) UserNames(id string) ([]string, error) {
	in, err := m.alive(id)
	if err != nil {
		return nil, err
	}
	return in.endpoint.UserNames(), nil
}

// Await waits until an instance is in one of the states. It returns ErrNotFound
// if the instance is gone.
func (m *Manager) Await(ctx context.Context, id string, states ...State) (Info, error) {
	for {
		i, err := m.Get(id)
		if err != nil {
			return i, err
		}
		for _, s := range states {
			if i.State == s {
				return i, nil
			}
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return i, ctx.Err()
		}
	}
}
