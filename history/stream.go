package history

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/internal/records"
)

// stream is what a store knows of the stream of its [Durable]. The stream is one more log:
// both logs of the store have its head.
type stream struct {
	id     atomic.Uint64 // a LogID; 0: none is known yet
	head   atomic.Uint64 // the last entry that was applied
	loaded atomic.Bool   // what was there when this process began to read was applied

	mu sync.Mutex

	// Guarded by mu.
	times []stamp   // see before
	first uint64    // the head when loaded was set
	since time.Time // when that was
}

// stamp says when an entry was stored.
type stamp struct {
	ms     int64
	number uint64
}

// missing is like logs.missing, for a topic whose messages are all in the stream: what
// became of other logs does not matter.
func (t *stream) missing(p Position, floor marks) (why Reason, wait bool) {
	log := t.log()
	number := p.marks.of(log)
	switch {
	case !t.loaded.Load():
		return Unknown, true
	case !p.marks.has(log):
		return Unknown, false
	case number > t.head.Load():
		return Unknown, true
	case number < floor.of(log):
		return Expired, false
	}
	return "", false
}

func (t *stream) log() LogID { return LogID(t.id.Load()) }

// BindStream says which stream the entries that follow are from, by a number that was
// drawn when the stream was made. Messages of an earlier stream stay until they expire.
func (s *Store) BindStream(log LogID) {
	old := LogID(s.stream.id.Swap(uint64(log)))
	if old == log {
		return
	}
	s.stream.head.Store(0)
	s.stream.loaded.Store(false)
	s.stream.mu.Lock()
	s.stream.times = nil
	s.stream.mu.Unlock()
	for _, l := range s.allLogs() {
		l.bind(log, old, s.now())
	}
}

// allLogs returns the logs of both kinds of spaces.
func (s *Store) allLogs() []*logs {
	if s.shared == nil {
		return []*logs{s.own}
	}
	return []*logs{s.own, s.shared}
}

// StreamHead returns the number of the last entry that was applied, or that
// [Store.SetLoaded] was given.
func (s *Store) StreamHead() uint64 { return s.stream.head.Load() }

// SetLoaded notes that everything up to a number, which was in the stream when this
// process began to read it, has been applied. Earlier entries only fill the rings; later
// ones are delivered. Call it on the goroutine of ApplyStored.
func (s *Store) SetLoaded(head uint64) {
	s.raiseStream(head)
	if s.stream.loaded.Load() {
		return
	}
	s.stream.mu.Lock()
	s.stream.first, s.stream.since = head, s.now()
	s.stream.mu.Unlock()
	s.stream.loaded.Store(true)
	s.mu.Lock()
	list := s.list
	s.mu.Unlock()
	for _, sp := range list {
		sp.noteStreamLoss()
	}
}

// IsLoaded reports whether [Store.SetLoaded] was called for the stream that is read.
func (s *Store) IsLoaded() bool { return s.stream.loaded.Load() }

// raiseStream notes that the entries up to a number have been applied.
func (s *Store) raiseStream(number uint64) {
	if number <= s.stream.head.Load() {
		return
	}
	s.stream.head.Store(number)
	for _, l := range s.allLogs() {
		l.raise(s.stream.log(), number)
	}
}

// ApplyStored applies an entry of the stream: its topic, its number, and when it was
// stored. Entries come in the order of their numbers, on one goroutine. One that has been
// applied already is ignored.
func (s *Store) ApplyStored(space, topic string, number uint64, at time.Time, entry []byte) error {
	if number <= s.stream.head.Load() {
		return nil
	}
	if !s.stream.loaded.Load() {
		s.stream.note(stamp{at.UnixMilli(), number})
	}
	err := s.applyStored(s.Open(space), topic, number, at, entry)
	s.raiseStream(number)
	s.makeRoom()
	return err
}

func (s *Store) applyStored(sp *Space, topic string, number uint64, at time.Time, entry []byte) error {
	switch {
	case len(entry) > 0 && entry[0] == entryMessage:
		k, err := parseKept(entry[1:])
		if err != nil {
			return err
		}
		m := k.message(string(k.event))
		m.Log, m.Number, m.Time = s.stream.log(), number, at
		sp.receiveStored(topic, &m)
		return nil
	case len(entry) > 0 && entry[0] == entryErasure:
		e, err := parseErasure(entry[1:])
		if err != nil {
			return err
		}
		sp.erase(topic, func() *erasure { return &e })
		return nil
	}
	return records.ErrMalformed
}

// receiveStored records a message that the stream has brought, and gives it to the
// receivers.
func (sp *Space) receiveStored(topic string, m *Message) {
	s := sp.store
	st := sp.stripe(topic)
	sp.lock(st)
	defer st.mu.Unlock()
	if st.isErased(topic, m) {
		return
	}
	r := sp.ringFor(st, topic, m.Event)
	now := s.now()
	if r != nil {
		r.stored = true
		r.follow(r.rule)
		sp.put(r, m, now)
		sp.trimStored(r, now, false)
	}
	s.raiseStream(m.Number) // under the lock: a position with it is that of a client with the message
	if !s.stream.loaded.Load() {
		return
	}
	for _, one := range sp.getReceivers() {
		(*one).Receive(topic, m, r != nil)
	}
	if r != nil {
		sp.mark(r, now)
	}
}

// The stream is trimmed as the rings are, but of each topic one more message is kept:
// whoever fills a ring from the stream drops it again, and so knows up to where messages
// are missing. Only what is too old is removed altogether, since positions of that time
// are too old as well (see noteStreamLoss).

// trimPart is the part of a rule's bounds by which the stream may exceed them, so that
// not every message is followed by a request to remove one.
const trimPart = 8

// trimStored has the stream trimmed as a ring was. The stripe's lock is held.
func (sp *Space) trimStored(r *ring, now time.Time, atOnce bool) {
	s := sp.store
	if s.durable == nil || !r.stored || r.rule.pending {
		return
	}
	below := r.floor.of(s.stream.log())
	if r.lost < now.Add(-r.rule.Age).UnixMilli() {
		below++
	}
	r.untrimmed++
	due := atOnce || r.untrimmed > r.rule.Messages/trimPart || now.UnixMilli()-r.trimmedAt >= r.rule.Age.Milliseconds()/trimPart
	if below <= max(1, r.trimmed) || !due {
		return
	}
	r.trimmed, r.trimmedAt, r.untrimmed = below, now.UnixMilli(), 0
	if s.trims(sp.name, r.topic) {
		s.durable.Trim(sp.name, r.topic, below)
	}
}

// trims reports whether it is this node that has a topic trimmed. Nodes need not agree on
// that: trimming twice does no harm, and what nobody trims goes when a ring is filled from
// the stream again.
func (s *Store) trims(space, topic string) bool {
	if s.shared == nil {
		return true
	}
	weight := func(log LogID) uint64 {
		h := uint64(14695981039346656037) ^ uint64(log) // FNV-1a: the same on all nodes
		for _, text := range [...]string{space, "\x00", topic} {
			for i := range len(text) {
				h = (h ^ uint64(text[i])) * 1099511628211
			}
		}
		return h
	}
	l := s.shared
	own := weight(l.id)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.others {
		if o.up && o.log != s.stream.log() && weight(o.log) > own {
			return false
		}
	}
	return true
}

// noteStreamLoss notes in the rings and rules of a space what the stream may have lost
// because it was too old, before this process read it. Other losses follow from the messages
// that are still there.
func (sp *Space) noteStreamLoss() {
	t := &sp.store.stream
	if !t.loaded.Load() {
		return
	}
	t.mu.Lock()
	since := t.since
	t.mu.Unlock()
	for _, r := range *sp.rules.Load() {
		if r.Durable {
			r.forget(marks{{t.log(), t.before(since.Add(-r.Age))}}, 0)
		}
	}
	stripes := sp.all()
	for i := range stripes {
		st := &stripes[i]
		sp.lock(st)
		for topic, r := range st.rings {
			if rule := sp.rules.Load().of(topic); rule != nil && rule.Durable {
				r.raiseFloor(t.log(), t.before(since.Add(-rule.Age)))
			}
		}
		st.mu.Unlock()
	}
}

// raiseFloor notes that the messages of a log up to a number are missing, except those
// that are here.
func (r *ring) raiseFloor(log LogID, number uint64) {
	for k := range r.all {
		if k.log == log {
			number = min(number, k.number-1)
			break
		}
	}
	r.floor.raise(log, number)
}

// maxStamps bounds stream.times.
const maxStamps = 2048

// note notes when an entry was stored.
func (t *stream) note(one stamp) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.times = append(t.times, one); len(t.times) < maxStamps {
		return
	}
	// What is older need be known less exactly: to a 64th of its age.
	kept := t.times[:1]
	for _, s := range t.times[1 : len(t.times)-1] {
		if s.ms-kept[len(kept)-1].ms >= max(100, (one.ms-s.ms)/64) {
			kept = append(kept, s)
		}
	}
	kept = append(kept, one)
	t.times = kept
}

// before returns a number that no entry from before a time exceeds, of those that were in
// the stream when it was read for the first time.
func (t *stream) before(at time.Time) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.times {
		if s.ms >= at.UnixMilli() {
			return s.number - 1
		}
	}
	return t.first
}
