package presence

import "github.com/mycelium-rt/mycelium/internal/callback"

// With Options.Fetch a change waits until Fetch has been called for its key, as changes wait for the end of a window:
// until then neither clients nor states nor other nodes know of it. What Fetch returned is kept with the key. So states
// and diffs can be written under the lock at any time, whatever Fetch is doing, and a state still has exactly the diffs
// that were sent before it.
//
// A topic has one call at a time. It is for the keys whose changes wait and, if a state is wanted, for all keys of the
// topic, a part of them in each call.

// enrichment is what a topic has from Fetch. All of it is guarded by the stripe's mu.
type enrichment struct {
	added  map[*entry]addition  // by keys that Fetch was asked about
	asking bool                 // a call is under way
	held   int                  // how many of topic.dirty, from the first on, wait only for Fetch
	states map[Channel]struct{} // channels that wait for a state
	due    []*entry             // keys to ask about before states are pushed
}

// addition is what Fetch has returned for a key.
type addition struct {
	members string // of the JSON object, each with a comma before it, as they follow the metas; "": none
	fresh   bool   // Fetch has been called since clients were last told of the key
}

// statesAtOnce is how many states are pushed under one hold of the lock.
const statesAtOnce = 500

// question is one call of Fetch.
type question struct {
	entries   []*entry
	presences map[string]Entry
}

// members returns what Fetch has added to e.
func (tp *topic) members(e *entry) string {
	if tp.fetch == nil {
		return ""
	}
	return tp.fetch.added[e].members
}

// fetched returns what Fetch has added to e as a JSON object, nil if nothing.
func (tp *topic) fetched(e *entry) []byte { return fetchedObject(tp.members(e)) }

func fetchedObject(members string) []byte {
	if members == "" {
		return nil
	}
	return []byte("{" + members[1:] + "}")
}

// isBusy reports whether the topic has to stay although nobody is in it.
func (f *enrichment) isBusy() bool { return f != nil && (f.asking || len(f.states) > 0) }

// tellable returns the entries that clients can be told of, of the first n dirty ones. The others wait for Fetch.
func (t *Tracker) tellable(tp *topic, n int) []changedEntry {
	if t.fetcher.stopped() {
		tp.fetch.held = 0
		return tp.dirty[:n]
	}
	ready := make([]changedEntry, 0, n)
	for i := range tp.dirty[:n] {
		if d := &tp.dirty[i]; tp.isReady(d) {
			ready = append(ready, *d)
		}
	}
	tp.fetch.held = n - len(ready)
	return ready
}

// isReady reports whether clients can be told of the changes of an entry: Fetch has been called since the last join, or
// nothing has joined. A leave of another node's presence is always told, because Replica.portion relies on it.
func (tp *topic) isReady(d *changedEntry) bool {
	joined := false
	for at := d.first; at != 0; at = tp.changes[at-1].next {
		switch p := tp.changes[at-1].presence; {
		case p.meta != "":
			joined = true
		case !p.holder.isOwn():
			return true
		}
	}
	return !joined || tp.fetch.added[d.entry].fresh
}

// proceed does what is to be done next for a topic: pushes states, or calls Fetch. The stripe is locked.
func (t *Tracker) proceed(s *stripe, tp *topic) {
	f := tp.fetch
	if f.asking || s.closed {
		return
	}
	if len(f.due) == 0 {
		t.pushStates(tp, statesAtOnce)
	}
	q := t.question(tp)
	if len(q.entries) == 0 && len(f.states) == 0 {
		return
	}
	f.asking = true
	t.timers.Add(1)
	t.fetcher.spawn(func() {
		defer t.timers.Done()
		members, err := t.fetcher.ask(tp.name, q.presences)
		if err != nil {
			t.report(tp.name, err)
		}
		t.answered(s, tp, q, members)
	})
}

// question returns the next call of Fetch; it may have no keys.
func (t *Tracker) question(tp *topic) *question {
	q := &question{presences: make(map[string]Entry)}
	f := tp.fetch
	for i := 0; i < f.held && len(q.entries) < t.fetcher.keys; i++ {
		if d := &tp.dirty[i]; !tp.isReady(d) {
			q.add(tp, d.entry)
		}
	}
	for most := len(q.entries) + t.fetcher.keys; len(f.due) > 0 && len(q.entries) < most; f.due = f.due[1:] {
		if e := f.due[0]; tp.entries[e.key] == e && e.live > 0 {
			q.add(tp, e)
		}
	}
	if len(f.due) == 0 {
		f.due = nil
	}
	return q
}

func (q *question) add(tp *topic, e *entry) {
	if _, there := q.presences[e.key]; !there {
		q.entries = append(q.entries, e)
		q.presences[e.key] = Entry{Metas: e.metas(fetchMetas), Fetched: tp.fetched(e)}
	}
}

// answered takes in what Fetch has returned, tells clients what has waited for it, and goes on.
func (t *Tracker) answered(s *stripe, tp *topic, q *question, members map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tp.fetch.asking = false
	if s.closed {
		return
	}
	for _, e := range q.entries {
		if tp.entries[e.key] == e {
			tp.enrich(e, members)
		}
	}
	n := tp.fetch.held
	if !tp.timer.isArmed() {
		n = len(tp.dirty) // else those behind wait for the end of their window
	}
	t.tell(s, tp, n)
}

// enrich keeps what Fetch has returned for e; if that is missing, e keeps what it had.
func (tp *topic) enrich(e *entry, members map[string]string) {
	f := tp.fetch
	before := f.added[e].members
	now, ok := members[e.key]
	if !ok {
		now = before
	}
	f.added[e] = addition{members: now, fresh: e.changes != 0}
	if f.added[e] == (addition{}) {
		delete(f.added, e)
	}
	if now == before {
		return
	}
	e.chunk.size += len(now) - len(before)
	if sent(tp, e.first) != "" { // else commit encodes it
		e.chunk.encoded, tp.state = nil, nil
	}
	tp.split(e.chunk)
}

// told notes that clients are told of some entries: what joins under their keys from now on is a new question.
func (f *enrichment) told(entries []changedEntry) {
	for i := range entries {
		e := entries[i].entry
		if a := f.added[e]; a.members == "" {
			delete(f.added, e)
		} else if a.fresh {
			f.added[e] = addition{members: a.members}
		}
	}
}

// forgetAddition forgets what Fetch has returned for an entry that goes.
func (tp *topic) forgetAddition(e *entry) {
	if tp.fetch != nil {
		e.chunk.size -= len(tp.members(e))
		delete(tp.fetch.added, e)
	}
}

// awaitState has a state pushed to c once Fetch has been asked about everybody in the topic. States that are wanted
// meanwhile are pushed with it.
func (t *Tracker) awaitState(s *stripe, tp *topic, c Channel) {
	f := tp.fetch
	if len(f.states) == 0 {
		f.states = make(map[Channel]struct{})
		for chunk := tp.first; chunk != nil; chunk = chunk.next {
			f.due = append(f.due, chunk.entries...)
		}
	}
	f.states[c] = struct{}{}
	t.proceed(s, tp)
}

// pushStates pushes a state to up to so many of the channels that wait for one.
func (t *Tracker) pushStates(tp *topic, most int) {
	f := tp.fetch
	for c := range f.states {
		if most--; most < 0 {
			return
		}
		delete(f.states, c)
		if err := t.tryPush(c, tp); err != nil {
			t.report(tp.name, err)
		}
	}
	f.states = nil
}

// tryPush pushes a state on a goroutine that is not the application's. That the channel has ended is no error here.
func (t *Tracker) tryPush(c Channel, tp *topic) (err error) {
	defer callback.Recover("Channel.Push", &err)
	_ = c.Push(EventState, t.stateOf(tp))
	return nil
}
