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

// Stats returns what an instance has counted.
func (m *Manager) Stats(id string) (Stats, error) {
	found, err := m.find(id)
	if err != nil {
		return Stats{}, err
	}
	return found.stats(), nil
}

// Glance is what is seen of an instance at the first look.
type Glance struct {
	ID       string
	Type     string
	State    State
	Reason   string // as Info has it
	Declared bool
	// Stats are without Topics, Leaked, Goroutines and Uptime: those take a closer
	// look, see [Manager.Stats].
	Stats Stats
}

// Survey returns a glance at every instance, in no order. It costs about a
// microsecond for each, whatever its topics and clients are: it is for what
// looks at all of them again and again.
func (m *Manager) Survey() []Glance {
	m.mu.RLock()
	members := slices.Collect(maps.Values(m.members))
	m.mu.RUnlock()
	seen := make([]Glance, 0, len(members))
	for _, one := range members {
		one.mu.RLock()
		if one.known {
			seen = append(seen, Glance{one.id, one.spec.Type, one.state, one.reason, one.declared, one.countedLocked()})
		}
		one.mu.RUnlock()
	}
	return seen
}

// Presence returns who is on a topic of an instance, by key; nothing where the
// type tracks nobody.
func (m *Manager) Presence(id, topic string) (map[string]presence.Entry, error) {
	in, err := m.alive(id)
	if err != nil {
		return nil, err
	}
	return in.Presence().List(topic), nil
}

// Topics returns the topics of an instance that somebody has joined, most
// subscribers first, at most limit; 0: all.
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

// Sockets returns an instance's connected clients, at most limit; 0: all.
func (m *Manager) Sockets(id string, limit int) ([]channels.SocketInfo, error) {
	in, err := m.alive(id)
	if err != nil {
		return nil, err
	}
	return in.endpoint.Sockets(limit), nil
}

// Await waits until an instance is in one of the states; ErrNotFound when it is
// gone.
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
