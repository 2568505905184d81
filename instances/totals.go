package instances

import (
	"cmp"
	"maps"
	"slices"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/presence"
)

// Total is the sum of the counters of all instances of one type, including
// deleted ones, so that counters never decrease.
type Total struct {
	// Type is the type's name.
	Type string
	// Instances is the present number of instances by state. In a cluster it
	// counts those that run on this node or on none.
	Instances map[State]int
	// Crashes and Restarts count those of the instances' logic.
	Crashes, Restarts int64
	// Stats is the sum of their endpoints' Stats; Network is not set.
	Stats channels.Stats
	// Presence is what they track now.
	Presence presence.Stats
}

// Totals returns a total for each registered type, by name. It visits every
// instance and all topics with presence, so do not call it often.
func (m *Manager) Totals() []Total {
	totals := make(map[string]*Total)
	m.mu.RLock()
	members := slices.Collect(maps.Values(m.members))
	for name := range m.types {
		totals[name] = &Total{Type: name, Instances: make(map[State]int)}
	}
	for name, gone := range m.departed { // together with members, so that each instance counts once
		totalOf(totals, name).addPast(gone)
	}
	m.mu.RUnlock()
	for _, one := range members {
		one.count(totals)
	}
	list := make([]Total, 0, len(totals))
	for _, t := range totals {
		list = append(list, *t)
	}
	slices.SortFunc(list, func(a, b Total) int { return cmp.Compare(a.Type, b.Type) })
	return list
}

func totalOf(totals map[string]*Total, name string) *Total {
	t := totals[name]
	if t == nil {
		t = &Total{Type: name, Instances: make(map[State]int)}
		totals[name] = t
	}
	return t
}

// count adds an instance to its type's total.
func (m *member) count(totals map[string]*Total) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.spec.Type == "" { // its spec was refused, or is being checked
		return
	}
	t := totalOf(totals, m.spec.Type)
	t.Crashes += m.crashed
	t.Restarts += m.restarts
	if m.past != nil {
		t.Stats.Add(*m.past)
	}
	if state, counts := m.countsAsLocked(); counts {
		t.Instances[state]++
	}
	if in := m.life; in != nil {
		t.Stats.Add(in.endpoint.Stats())
		now := in.present()
		t.Presence.Topics += now.Topics
		t.Presence.Keys += now.Keys
		t.Presence.Bytes += now.Bytes
	}
}

// countsAsLocked returns the state in which a member counts on this node; mu must
// be held at least for reading. One that another node runs counts there.
func (m *member) countsAsLocked() (s State, counts bool) {
	if m.state == away && m.manager.nodes != nil {
		if o, owned := m.manager.nodes.owners.Owner(m.id); owned && !o.Self {
			return "", false
		}
	}
	s, _, _ = m.stateLocked()
	return s, m.known
}

// addPast adds the counters of a total that stay when its instances have gone.
func (t *Total) addPast(o *Total) {
	t.Crashes += o.Crashes
	t.Restarts += o.Restarts
	t.Stats = *sum(&t.Stats, o.Stats)
}
