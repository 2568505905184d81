package cluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// metas are a user's presences as they come.
type metas struct {
	Metas []struct {
		Ref string `json:"phx_ref"`
	}
}

// presenceState replaces a client's list.
func (m *member) presenceState(s *stay, payload []byte) {
	var state map[string]metas
	if err := json.Unmarshal(payload, &state); err != nil {
		m.crowd.fail("%s got the presence_state %.200q", m.name, payload)
		return
	}
	clear(s.present)
	s.hasState = true
	m.join(s, state, false)
}

// presenceDiff changes it. A diff joins nobody who is there and removes nobody who
// is not.
func (m *member) presenceDiff(s *stay, payload []byte) {
	var diff struct{ Joins, Leaves map[string]metas }
	if err := json.Unmarshal(payload, &diff); err != nil {
		m.crowd.fail("%s got the presence_diff %.200q", m.name, payload)
		return
	}
	if !s.hasState {
		return // phoenix.js keeps it until the state comes, which has it
	}
	for user, u := range diff.Leaves {
		s.count(user).leaves++
		for _, one := range u.Metas {
			if _, there := s.present[user][one.Ref]; !there {
				m.crowd.fail("%s on %s was told that %s leaves with %s, who is not there", m.name, s.node.name, user, one.Ref)
			}
			delete(s.present[user], one.Ref)
		}
		if len(s.present[user]) == 0 {
			delete(s.present, user)
		}
	}
	m.join(s, diff.Joins, true)
}

func (m *member) join(s *stay, joins map[string]metas, counted bool) {
	for user, u := range joins {
		if counted {
			s.count(user).joins++
		}
		if s.present[user] == nil {
			s.present[user] = map[string]string{}
		}
		for _, one := range u.Metas {
			if _, there := s.present[user][one.Ref]; there {
				m.crowd.fail("%s on %s was told twice that %s joins with %s", m.name, s.node.name, user, one.Ref)
			}
			s.present[user][one.Ref] = ""
		}
	}
}

func (s *stay) count(user string) *moves {
	if s.moves[user] == nil {
		s.moves[user] = new(moves)
	}
	return s.moves[user]
}

// checkPresence waits until every client's list is correct: each member once. since is
// when the last one joined. Without -long the machine may have other work, and within counts for
// nothing.
func (c *crowd) checkPresence(since time.Time, within time.Duration) {
	c.t.Helper()
	if !*long {
		within = waittest.Patience * 2 / 3
	}
	for _, r := range c.rooms {
		names := make([]string, len(r.members))
		for i, m := range r.members {
			names[i] = m.name
		}
		slices.Sort(names)
		for _, m := range r.members {
			difference := ""
			wait(c.t, "the list of "+m.name+" is right", func() bool {
				difference = m.listDiffers(names)
				return difference == "" || time.Since(since) > within
			})
			if difference != "" {
				c.fail("%s after %s: %s", m.name, time.Since(since).Round(time.Millisecond), difference)
			}
		}
	}
}

func (m *member) listDiffers(names []string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stay == nil {
		return "is not in the room"
	}
	list := slices.Sorted(maps.Keys(m.stay.present))
	if !slices.Equal(list, names) {
		return fmt.Sprintf("on %s sees %d users, want %d: too many %v, missing %v", m.stay.node.name, len(list), len(names), without(list, names), without(names, list))
	}
	for user, refs := range m.stay.present {
		if len(refs) != 1 {
			return fmt.Sprintf("sees %s %d times", user, len(refs))
		}
	}
	return ""
}

// without returns what is in a and not in b.
func without(a, b []string) (only []string) {
	for _, x := range a {
		if !slices.Contains(b, x) && len(only) < 5 {
			only = append(only, x)
		}
	}
	return only
}

// countMoves begins to count what clients are told.
func (c *crowd) countMoves() {
	for _, r := range c.rooms {
		for _, m := range r.members {
			m.mu.Lock()
			if m.stay != nil {
				clear(m.stay.moves)
			}
			m.mu.Unlock()
		}
	}
}

// checkMoves checks that nobody who stayed since countMoves was told more than one
// leave and one join of any user.
func (c *crowd) checkMoves() {
	for _, r := range c.rooms {
		for _, m := range r.members {
			m.mu.Lock()
			if m.stay != nil {
				for user, n := range m.stay.moves {
					if n.joins > 1 || n.leaves > 1 {
						c.fail("%s on %s was told of %d joins and %d leaves of %s", m.name, m.stay.node.name, n.joins, n.leaves, user)
					}
				}
			}
			m.mu.Unlock()
		}
	}
}
