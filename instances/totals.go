package instances

import (
	"cmp"
	"maps"
	"slices"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/presence"
)

// Total is what all instances of one type have counted together, those included
// that have been deleted: its counts do not shrink.
type Total struct {
	// Type is the type's name.
	Type string
	// Instances are how many there are now, by state.
	Instances map[State]int
	// Crashes and Restarts are of the instances' logic.
	Crashes, Restarts int64
	// Stats are sums of their endpoints'; Network is not set.
	Stats channels.Stats
	// Presence is how much they track now.
	Presence presence.Stats
}

// Totals returns a total for each type that is registered, by name. It asks every
// instance and goes through all topics with presence: it is for what asks now
// and then.
func (m *Manager) Totals() []Total {
	m.mu.RLock()
	members := slices.Collect(maps.Values(m.members))
	totals := maps.Clone(m.departed) // with the members: each is in one of them
	for name := range m.types {
		totals[name] = totals[name].plus(Total{Type: name})
	}
	m.mu.RUnlock()
	for _, one := range members {
		t := one.total()
		totals[t.Type] = totals[t.Type].plus(t)
	}
	return slices.SortedFunc(maps.Values(totals), func(a, b Total) int { return cmp.Compare(a.Type, b.Type) })
}

// total is what one instance adds.
func (m *member) total() Total {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t := Total{Type: m.spec.Type, Crashes: m.crashed, Restarts: m.restarts, Stats: m.past}
	if m.known {
		t.Instances = map[State]int{m.state: 1}
	}
	if in := m.life; in != nil {
		t.Stats.Add(in.endpoint.Stats())
		t.Presence = in.present()
	}
	return t
}

// past is what stays of a total when its instances have gone.
func (t Total) past() Total {
	return Total{Type: t.Type, Crashes: t.Crashes, Restarts: t.Restarts, Stats: sum(channels.Stats{}, t.Stats)}
}

// plus returns the sum; it leaves both as they were.
func (t Total) plus(o Total) Total {
	states := map[State]int{}
	for _, counted := range []map[State]int{t.Instances, o.Instances} {
		for state, n := range counted {
			states[state] += n
		}
	}
	t.Type, t.Instances = o.Type, states
	t.Crashes += o.Crashes
	t.Restarts += o.Restarts
	t.Stats.Add(o.Stats)
	t.Presence.Topics += o.Presence.Topics
	t.Presence.Keys += o.Presence.Keys
	return t
}
