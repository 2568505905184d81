package instances

import (
	"cmp"
	"slices"

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
