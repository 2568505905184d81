package presence

import (
	"encoding/json"

	"github.com/mycelium-rt/mycelium/internal/prepared"
)

// PushState pushes presence_state to c: what the diffs sent so far amount to, so that it and the diffs after it add up to
// the truth. A state of more than 256 KiB comes as a presence_state and presence_diffs that join the rest, one behind the other. Within a window that is the state before what waits; see [Options]. The channel has to be subscribed by
// then: what is sent between the state and the end of a join callback would be missed, so a join sends itself a
// message, as after_join in Phoenix, and the state is pushed when that comes.
// With Options.Fetch, PushState returns at once and the state follows when Fetch has returned.
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
	state := &prepared.State{Series: noState, Again: t.again}
	if tp == nil {
		return state
	}
	if state.Series = tp.encoded(); len(state.Series) > 1 {
		state.Whole = func() []byte { return tp.appendSide(nil, sent) }
	}
	return state
}

// List returns who is present in topic now, also what waits for its window. The caller owns the result.
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

// Get returns the metas under key in topic now, nil if there are none. The caller owns the result.
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

// AppendList appends List as JSON in the form of presence_state, in the order in which the keys came.
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

// Count is the number of keys present in topic now: the length of List, without its cost.
func (t *Tracker) Count(topic string) int {
	s := t.stripe(topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	if tp := s.topics[topic]; tp != nil {
		return int(tp.live)
	}
	return 0
}
