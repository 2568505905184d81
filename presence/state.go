package presence

import (
	"encoding/json"

	"github.com/mycelium-rt/mycelium/internal/prepared"
)

// PushState pushes a presence_state to c's client: the presences as of the last diff, so that the state and the diffs after it
// add up to the truth. A state of more than 256 KiB is sent as a presence_state and presence_diffs with the rest.
//
// Call it when the client has joined, from an Info handler that the join triggers with Send (after_join in
// Phoenix): a diff that is sent between the state and the end of the join callback would be lost. With [Options.Fetch],
// PushState returns at once, and the state is pushed when Fetch has returned.
func (t *Tracker) PushState(c Channel) error {
	name := c.Topic()
	s := t.stripe(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	// Under the lock: a diff that this state lacks has not been sent yet, and one that it has cannot come after it.
	tp := s.topics[name]
	if tp != nil && tp.fetch != nil {
		t.awaitState(s, tp, c)
		return nil
	}
	return c.Push(EventState, t.stateOf(tp))
}

// stateOf returns the state of a topic, or of one in which nobody is (nil), as the payload of a push.
func (t *Tracker) stateOf(tp *topic) *prepared.State {
	if tp == nil {
		return &prepared.State{Series: noState, Again: t.again}
	}
	tp.encoded()
	if tp.state.Again == nil { // it has not been pushed
		tp.state.Again = t.again
	}
	return tp.state
}

// List returns the presences of a topic by key, including changes that clients will be told of at the end of a window. The
// caller owns the result.
func (t *Tracker) List(topic string) map[string]Entry {
	s := t.stripe(topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	tp := s.topics[topic]
	if tp == nil {
		return map[string]Entry{}
	}
	list := make(map[string]Entry, tp.live)
	for key, e := range tp.entries {
		if e.live > 0 {
			list[key] = Entry{Metas: e.metas(int(e.live)), Fetched: tp.fetched(e)}
		}
	}
	return list
}

// Get returns the metas under a key of a topic, as List does; nil if there are none. The caller owns the result.
func (t *Tracker) Get(topic, key string) []Meta {
	s := t.stripe(topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	tp := s.topics[topic]
	if tp == nil {
		return nil
	}
	e := tp.entries[key]
	if e == nil || e.live == 0 {
		return nil
	}
	return e.metas(int(e.live))
}

// metas returns the first of the current metas of e.
func (e *entry) metas(most int) []Meta {
	metas := make([]Meta, 0, min(most, int(e.live)))
	for p := e.first; p != nil && len(metas) < most; p = p.next {
		if m := p.meta; m != "" {
			metas = append(metas, Meta{Ref: refOf(m), PrevRef: prevOf(m), JSON: json.RawMessage(m)})
		}
	}
	return metas
}

// AppendList appends the JSON encoding of List, in the order in which the keys joined.
func (t *Tracker) AppendList(dst []byte, topic string) []byte {
	s := t.stripe(topic)
	s.mu.Lock()
	tp := s.topics[topic]
	if tp == nil {
		s.mu.Unlock()
		return append(dst, emptyObject...)
	}
	if len(tp.dirty) == 0 {
		if whole := tp.encoded(); len(whole) == 1 { // then it can be copied without the lock
			s.mu.Unlock()
			return whole[0].AppendPayload(dst)
		}
	}
	defer s.mu.Unlock()
	return tp.appendSide(dst, current)
}

// Count returns the number of keys of a topic. It is cheaper than List.
func (t *Tracker) Count(topic string) int {
	s := t.stripe(topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	if tp := s.topics[topic]; tp != nil {
		return int(tp.live)
	}
	return 0
}
