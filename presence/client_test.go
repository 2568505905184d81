package presence

import (
	"encoding/json"
	"fmt"
	"slices"
)

// client does what phoenix.js's Presence does with the messages it gets (assets/js/phoenix/presence.js), and besides
// complains of diffs that repeat or contradict what it knows.
type client struct {
	state   map[string][]meta
	pending []diff
	joinRef int  // the join whose state it has, 0 is none
	current int  // the present join
	parts   bool // diffs may come in parts: what has joined, then what has left

	users map[string]string // what Fetch has added to the keys of state: member "user" of the latest join
}

// meta is a meta as a client keeps it.
type meta struct {
	ref  string
	json string
}

type metas struct {
	Metas []json.RawMessage `json:"metas"`
	User  string            `json:"user"`
}

type diff struct {
	Joins  map[string]metas `json:"joins"`
	Leaves map[string]metas `json:"leaves"`
}

func newClient() *client { return &client{state: make(map[string][]meta)} }

// rejoin starts another join: diffs wait for its state from now on (inPendingSyncState).
func (c *client) rejoin() {
	c.current++
	// phoenix.js keeps diffs of an earlier join whose state never came, and applies them behind the state of this one. A diff
	// that it missed in between may contradict them, which no server can help; so they are no part of this model.
	c.pending = nil
}

func (c *client) synced() bool { return c.joinRef != 0 && c.joinRef == c.current }

func (c *client) handle(e event) error {
	switch e.name {
	case EventState:
		var state map[string]metas
		if err := json.Unmarshal([]byte(e.payload), &state); err != nil {
			return fmt.Errorf("state %s: %w", e.payload, err)
		}
		c.joinRef = c.current
		c.syncState(parse(state))
		c.noteUsers(state)
		for _, d := range c.pending {
			c.syncDiff(parse(d.Joins), parse(d.Leaves))
			c.noteUsers(d.Joins)
		}
		c.pending = nil
		return nil
	case EventDiff:
		var d diff
		if err := json.Unmarshal([]byte(e.payload), &d); err != nil {
			return fmt.Errorf("diff %s: %w", e.payload, err)
		}
		if !c.synced() {
			c.pending = append(c.pending, d)
			return nil
		}
		if err := c.check(parse(d.Joins), parse(d.Leaves)); err != nil {
			return fmt.Errorf("diff %s: %w", e.payload, err)
		}
		c.syncDiff(parse(d.Joins), parse(d.Leaves))
		c.noteUsers(d.Joins)
		return nil
	default:
		return fmt.Errorf("unknown event %q", e.name)
	}
}

// noteUsers keeps what came with keys.
func (c *client) noteUsers(joins map[string]metas) {
	if c.users == nil {
		c.users = make(map[string]string)
	}
	for key, presence := range joins {
		c.users[key] = presence.User
	}
	for key := range c.users {
		if c.state[key] == nil {
			delete(c.users, key)
		}
	}
}

func parse(in map[string]metas) map[string][]meta {
	out := make(map[string][]meta, len(in))
	for key, presence := range in {
		for _, raw := range presence.Metas {
			var m struct {
				Ref string `json:"phx_ref"`
			}
			if err := json.Unmarshal(raw, &m); err != nil {
				panic(err)
			}
			out[key] = append(out[key], meta{m.Ref, string(raw)})
		}
	}
	return out
}

func hasRef(ms []meta, ref string) bool {
	return slices.ContainsFunc(ms, func(m meta) bool { return m.ref == ref })
}

// without returns those of ms whose refs are not in others.
func without(ms, others []meta) []meta {
	var rest []meta
	for _, m := range ms {
		if !hasRef(others, m.ref) {
			rest = append(rest, m)
		}
	}
	return rest
}

func (c *client) syncState(state map[string][]meta) {
	joins, leaves := make(map[string][]meta), make(map[string][]meta)
	for key, ms := range c.state {
		if state[key] == nil {
			leaves[key] = ms
		}
	}
	for key, ms := range state {
		have := c.state[key]
		if have == nil {
			joins[key] = ms
			continue
		}
		if joined := without(ms, have); len(joined) > 0 {
			joins[key] = joined
		}
		if left := without(have, ms); len(left) > 0 {
			leaves[key] = left
		}
	}
	c.syncDiff(joins, leaves)
}

func (c *client) syncDiff(joins, leaves map[string][]meta) {
	for key, joined := range joins {
		c.state[key] = append(without(c.state[key], joined), joined...)
	}
	for key, left := range leaves {
		if c.state[key] == nil {
			continue
		}
		if rest := without(c.state[key], left); len(rest) > 0 {
			c.state[key] = rest
		} else {
			delete(c.state, key)
		}
	}
}

// check holds a diff against the state: it must neither repeat nor miss anything.
func (c *client) check(joins, leaves map[string][]meta) error {
	if len(joins) == 0 && len(leaves) == 0 {
		return fmt.Errorf("empty diff")
	}
	for key, joined := range joins {
		for _, m := range joined {
			// The rest of a state may have what a diff before it has brought: phoenix.js takes such a meta once.
			if hasRef(c.state[key], m.ref) && !c.parts {
				return fmt.Errorf("%q joins again with %s", key, m.ref)
			}
			var prev struct {
				Ref string `json:"phx_ref_prev"`
			}
			if err := json.Unmarshal([]byte(m.json), &prev); err != nil {
				return err
			}
			if prev.Ref != "" && !hasRef(leaves[key], prev.Ref) && !c.parts {
				return fmt.Errorf("%q was updated from %s, which does not leave", key, prev.Ref)
			}
		}
	}
	for key, left := range leaves {
		for _, m := range left {
			if !hasRef(c.state[key], m.ref) {
				return fmt.Errorf("%q leaves with %s, which is not there", key, m.ref)
			}
		}
	}
	return nil
}

// shape is the client's state in the form of shape.
func (c *client) shape() map[string][]string {
	s := make(map[string][]string)
	for key, ms := range c.state {
		for _, m := range ms {
			s[key] = append(s[key], m.json)
		}
	}
	return s
}

// withoutPrevs removes each phx_ref_prev from a shape. A client that joins again keeps a meta that it knows by its ref
// (presence.js, syncState). If the meta's node was down meanwhile, others were told of it anew, without its phx_ref_prev.
func withoutPrevs(s map[string][]string) map[string][]string {
	for _, metas := range s {
		for i, m := range metas {
			metas[i] = withPrev(m, "")
		}
	}
	return s
}

// sorted is a shape whose metas are in order: those of several nodes come to
// clients in another order than to the list, and none is promised.
func sorted(s map[string][]string) map[string][]string {
	for _, metas := range s {
		slices.Sort(metas)
	}
	return s
}
