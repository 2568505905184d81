package conformance

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// state is a possible assignment of what was received so far: which items have been
// observed, and the values of the placeholders.
type state struct {
	bound *bindings
	done  []uint64 // a bit for each item of the plan; never changed in place
}

func (s state) has(it *item) bool {
	return it.id/64 < len(s.done) && s.done[it.id/64]&(1<<(it.id%64)) != 0
}

func (s state) with(it *item, bound *bindings) state {
	done := make([]uint64, max(len(s.done), it.id/64+1))
	copy(done, s.done)
	done[it.id/64] |= 1 << (it.id % 64)
	return state{bound: bound, done: done}
}

// hasAll reports whether all required items have been observed.
func (s state) hasAll(items []*item) bool {
	for _, it := range items {
		if it.required() && !s.has(it) {
			return false
		}
	}
	return true
}

// maxStates bounds the states that are followed. Recordings need a handful, where metas
// that look alike may come in any order.
const maxStates = 256

// matcher follows all assignments of observations to recorded items.
type matcher struct {
	plan   *plan
	states []state
}

func newMatcher(p *plan) *matcher { return &matcher{plan: p, states: []state{{}}} }

// feed takes an observation. active has the items that it may be, in recorded order. An
// error means that it is none of them, and changes nothing.
func (m *matcher) feed(ev event, active []*item) error {
	var next []state
	for _, s := range m.states {
		for i, it := range active {
			if it.client != ev.client || s.has(it) || m.blocked(s, active[:i], it) {
				continue
			}
			it.match(ev, s.bound, func(b *bindings) bool {
				next = append(next, s.with(it, b))
				return len(next) >= maxStates
			})
		}
	}
	if len(next) == 0 {
		return m.surprise(ev, active)
	}
	m.states = distinct(next)
	return nil
}

// blocked reports whether something recorded earlier is still missing.
func (m *matcher) blocked(s state, earlier []*item, it *item) bool {
	if !it.required() {
		return false
	}
	for _, before := range earlier {
		if before.client == it.client && before.required() && !s.has(before) && m.plan.precedes(before, it) {
			return true
		}
	}
	return false
}

func distinct(states []state) []state {
	if len(states) == 1 {
		return states
	}
	seen := map[string]bool{}
	var kept []state
	for _, s := range states {
		key := fmt.Sprint(s.done) + s.bound.key()
		if !seen[key] {
			seen[key] = true
			kept = append(kept, s)
		}
	}
	return kept
}

// satisfied reports whether some state has all of the required items.
func (m *matcher) satisfied(items []*item) bool {
	for _, s := range m.states {
		if s.hasAll(items) {
			return true
		}
	}
	return false
}

// keepComplete drops the states that do not have all of the required items. At least one
// must have them.
func (m *matcher) keepComplete(items []*item) {
	m.filter(func(s state) bool { return s.hasAll(items) })
}

// filter keeps the states for which ok returns true, or all states if there is none.
func (m *matcher) filter(ok func(state) bool) bool {
	var kept []state
	for _, s := range m.states {
		if ok(s) {
			kept = append(kept, s)
		}
	}
	if len(kept) > 0 {
		m.states = kept
	}
	return len(kept) > 0
}

// wants reports whether a required item of the client is missing in some state.
func (m *matcher) wants(client int, items []*item) bool {
	for _, s := range m.states {
		for _, it := range items {
			if it.client == client && it.required() && !s.has(it) {
				return true
			}
		}
	}
	return false
}

// missing returns the items that the first state does not have.
func (m *matcher) missing(items []*item) []*item {
	var list []*item
	for _, it := range items {
		if it.required() && !m.states[0].has(it) {
			list = append(list, it)
		}
	}
	return list
}

// fill replaces placeholders in something that is sent. It drops the states that would
// send something else, since the value is now known.
func (m *matcher) fill(text string) (string, error) {
	out, err := m.states[0].bound.fill(text)
	if err != nil {
		return "", err
	}
	m.filter(func(s state) bool {
		other, err := s.bound.fill(text)
		return err == nil && other == out
	})
	return out, nil
}

// accept compares a received body, which is outside of the order of messages.
func (m *matcher) accept(want, got string) error {
	var next []state
	for _, s := range m.states {
		matchMessage(want, got, s.bound, func(b *bindings) bool {
			next = append(next, state{bound: b, done: s.done})
			return len(next) >= maxStates
		})
	}
	if len(next) == 0 {
		return fmt.Errorf("expected %s\n  received %s%s", short(want), short(got),
			indent(difference(want, got, m.states[0].bound)))
	}
	m.states = distinct(next)
	return nil
}

// surprise returns an error for an observation that was not expected.
func (m *matcher) surprise(ev event, active []*item) error {
	var text strings.Builder
	var nearest *item
	for _, it := range m.missing(active) {
		if it.client == ev.client {
			nearest = it
			break
		}
	}
	if nearest == nil {
		fmt.Fprintf(&text, "client %d: expected nothing more\n  received %s", ev.client, ev)
		return fmt.Errorf("%s", text.String())
	}
	fmt.Fprintf(&text, "client %d: expected %s (step %d)\n  received %s", ev.client, nearest, nearest.step.Number, ev)
	if nearest.kind == itemOpened && ev.kind == eventOpened {
		return fmt.Errorf("client %d: handshake: %w", ev.client, compareOpened(nearest.open, nearest.step.Opened, ev.opened, m.states[0].bound))
	}
	if nearest.kind == itemText && ev.kind == eventText {
		text.WriteString(indent(difference(nearest.text, ev.text, m.states[0].bound)))
	}
	return fmt.Errorf("%s", text.String())
}

func indent(s string) string {
	if s == "" {
		return ""
	}
	return "\n  " + s
}

// match compares an observation with the item, and yields the bindings of each way in
// which they are the same.
func (it *item) match(ev event, b *bindings, yield func(*bindings) bool) {
	switch it.kind {
	case itemText:
		if ev.kind == eventText {
			matchMessage(it.text, ev.text, b, yield)
		}
	case itemAllowance:
		if ev.kind != eventText {
			return
		}
		if m, ok := parseText(ev.text); ok && it.allows(m, b) {
			yield(b)
		}
	case itemBinary:
		if ev.kind == eventBinary && strings.EqualFold(it.text, hex.EncodeToString(ev.data)) {
			yield(b)
		}
	case itemPong:
		if ev.kind == eventPong && it.text == string(ev.data) {
			yield(b)
		}
	case itemOpened:
		if ev.kind == eventOpened && compareOpened(it.open, it.step.Opened, ev.opened, b) == nil {
			yield(b)
		}
	case itemClosed:
		if it.matchClosed(ev) {
			yield(b)
		}
	case itemEnd:
		if ev.kind == eventEnd {
			yield(b)
		}
	}
}

// closeTooBig is the close code that may be lost in a reset (rule 7).
const closeTooBig = 1009

func (it *item) matchClosed(ev event) bool {
	if ev.kind == eventEnd {
		return ev.reset && it.step.Closed.Code.Has(closeTooBig)
	}
	return ev.kind == eventClosed && it.step.Closed.Code.Has(ev.code) && it.step.Closed.Reason == ev.text
}

func (it *item) String() string {
	switch it.kind {
	case itemText:
		return short(it.text)
	case itemBinary:
		return "binary " + short(it.text)
	case itemPong:
		return fmt.Sprintf("pong %q", it.text)
	case itemOpened:
		return fmt.Sprintf("the answer to the handshake with status %s", it.step.Opened.Status)
	case itemClosed:
		return fmt.Sprintf("close frame %s %q", it.step.Closed.Code, it.step.Closed.Reason)
	case itemEnd:
		return "the end of the connection"
	}
	return it.why
}
