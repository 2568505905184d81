package history

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/internal/records"
)

// erasure says which messages of a topic are erased.
//
// It is kept, and is part of snapshots, for as long as a node that was cut off, or that is
// started again, may have what is erased. So what it erases must be the same on every node and
// at any time: one message, or messages up to a position.
type erasure struct {
	made   ID    // its log and its number there
	id     ID    // of one message; zero: of more than one
	before int64 // only those that were recorded before, Unix milliseconds; 0: all
	upTo   marks // the last messages that may be erased, unless id is set
	at     int64 // when it was made, Unix milliseconds
}

func (e *erasure) matches(log LogID, number uint64, ms int64) bool {
	if e.id != (ID{}) {
		return log == e.id.Log && number == e.id.Number
	}
	return number <= e.upTo.of(log) && (e.before == 0 || ms < e.before)
}

// covers reports whether e erases everything that o does.
func (e *erasure) covers(o *erasure) bool {
	switch {
	case e.id != ID{}:
		return o.id == e.id
	case o.id != ID{}:
		return e.before == 0 && o.id.Number <= e.upTo.of(o.id.Log)
	case e.before != 0 && (o.before == 0 || o.before > e.before):
		return false
	}
	return !slices.ContainsFunc(o.upTo, func(m mark) bool { return m.number > e.upTo.of(m.log) })
}

const (
	// keepErasure is how much longer than messages an erasure is kept: more than the
	// clocks of nodes differ.
	keepErasure = 10 * time.Minute
	// maxErasures bounds the erasures that are kept of a topic. A rule keeps fewer
	// messages, unless it keeps very many.
	maxErasures = 1000
)

// memory is what an erasure counts against the store's memory.
func (e *erasure) memory() int64 { return int64(64 + 16*len(e.upTo)) }

// Delete drops all messages of a topic, and returns how many there were on this node.
// Clients that come back are not told that they missed them. In a shared space the other
// nodes drop them too, also those that cannot be reached for a while. Durable messages are
// removed from where they are stored, for which Delete waits; only that can fail.
func (sp *Space) Delete(topic string) (n int, err error) { return sp.eraseAll(topic, erasure{}) }

// Erase drops one message of a topic, as [Space.Delete] does, and reports whether it was
// here.
func (sp *Space) Erase(topic string, id ID) (found bool, err error) {
	n, err := sp.eraseAll(topic, erasure{id: id})
	return n > 0, err
}

// TrimBefore drops the messages of a topic that were recorded before a time, as
// [Space.Delete] does, and returns how many there were here.
func (sp *Space) TrimBefore(topic string, at time.Time) (n int, err error) {
	return sp.eraseAll(topic, erasure{before: at.UnixMilli()})
}

// eraseAll erases messages here, in a shared space on the other nodes, and in the stream.
func (sp *Space) eraseAll(topic string, e erasure) (n int, err error) {
	l, now := sp.logs.Load(), sp.store.now()
	e.at = now.UnixMilli()
	made := func() *erasure {
		if e.id == (ID{}) && e.upTo == nil {
			e.upTo = l.position(now).marks // what is recorded from now on stays
		}
		return &e
	}
	stored := 0
	if (sp.store.stream.log() != 0 || sp.IsDurable()) && len(topic) <= maxStoredTopic {
		if stored, err = sp.removeStored(topic, &e, made); err != nil {
			return 0, err
		}
	}
	n = sp.erase(topic, func() *erasure {
		l.publishErasure(sp.name, topic, made())
		return &e
	})
	return max(n, stored), nil // the stream may have had them dropped here before
}

// count returns how many messages of a topic an erasure matches. made is called under the
// topic's lock.
func (sp *Space) count(topic string, made func() *erasure) (n int) {
	st := sp.stripe(topic)
	sp.lock(st)
	defer st.mu.Unlock()
	e := made()
	if r := st.rings[topic]; r != nil {
		for k := range r.all {
			if e.matches(k.log, k.number, k.ms) {
				n++
			}
		}
	}
	return n
}

// publishErasure gives an erasure the next number of this process's log, and sends it to the
// other nodes.
func (l *logs) publishErasure(space, topic string, e *erasure) {
	if l.state == nil {
		return
	}
	l.appending.Lock()
	defer l.appending.Unlock()
	e.made = ID{l.id, l.head.Load() + 1}
	entry := records.AppendText(records.AppendText([]byte{stateErased}, space), topic)
	l.state(e.append(entry))
	l.head.Store(e.made.Number)
}

// erase erases messages of a topic on this node. made is called under the topic's lock.
func (sp *Space) erase(topic string, made func() *erasure) (n int) {
	s := sp.store
	defer s.makeRoom() // what is left may take more memory in new blocks
	st := sp.stripe(topic)
	sp.lock(st)
	defer st.mu.Unlock()
	e := made()
	if sp.logs.Load().state != nil {
		s.addErasures(st.keepErasure(topic, e))
	}
	if r := st.rings[topic]; r != nil {
		memory, count := r.memory, r.count
		n = r.erase(func(k *kept) bool { return e.matches(k.log, k.number, k.ms) })
		s.bytes.Add(r.memory - memory)
		s.stats.messages.Add(int64(r.count - count))
	}
	return n
}

// addErasures counts erasures that are kept, and what they take.
func (s *Store) addErasures(count int, memory int64) {
	s.bytes.Add(memory)
	if s.erasures.Add(int64(count)) > 0 {
		s.startSweeping()
	}
}

// keepErasure adds an erasure to those of a topic, without those that it covers. It
// returns by how many there are more, and by how much memory. The lock is held.
func (st *stripe) keepErasure(topic string, e *erasure) (count int, memory int64) {
	list := st.erasures[topic]
	if slices.ContainsFunc(list, func(o erasure) bool { return o.covers(e) }) {
		return 0, 0
	}
	excess := len(list) + 1 - maxErasures
	list = slices.DeleteFunc(list, func(o erasure) bool {
		drop := excess > 0 || e.covers(&o)
		if excess--; drop {
			count, memory = count-1, memory-o.memory()
		}
		return drop
	})
	if st.erasures == nil {
		st.erasures = make(map[string][]erasure)
	}
	st.erasures[topic] = append(list, *e)
	return count + 1, memory + e.memory()
}

// isErased reports whether a message that comes from another node was erased before. The
// lock is held.
func (st *stripe) isErased(topic string, m *Message) bool {
	for _, e := range st.erasures[topic] {
		if e.matches(m.Log, m.Number, m.Time.UnixMilli()) {
			return true
		}
	}
	return false
}

// adoptErasures publishes again what nodes have erased that are not heard, if it has come with the snapshot of another
// node only: perhaps nobody else has it, and nobody would send it. unknown is whether those of nodes count that were
// never heard here.
func (s *Store) adoptErasures(unknown bool) {
	if s.erasures.Load() == 0 {
		return
	}
	s.mu.Lock()
	list := slices.Clone(s.list)
	s.mu.Unlock()
	for _, sp := range list {
		l := sp.logs.Load()
		if l != s.shared {
			continue
		}
		for _, topic := range sp.topics() {
			sp.adoptErasures(l, topic, unknown)
		}
	}
}

func (sp *Space) adoptErasures(l *logs, topic string, unknown bool) {
	st := sp.stripe(topic)
	sp.lock(st)
	defer st.mu.Unlock()
	now := sp.store.now()
	for i := range st.erasures[topic] {
		if e := &st.erasures[topic][i]; l.isOrphan(e, unknown, now) {
			l.publishErasure(sp.name, topic, e)
		}
	}
}

// isOrphan reports whether an erasure has not arrived here from the node that made it, which is not heard. unknown is the
// answer for a node that was never heard.
func (l *logs) isOrphan(e *erasure, unknown bool, now time.Time) bool {
	if e.made.Log == 0 || e.made.Log == l.id { // 0: it is from the stream, which all nodes read
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := l.find(e.made.Log); o != nil {
		return !o.up && o.number < e.made.Number
	}
	return unknown && now.UnixMilli()-e.at < keepLog.Milliseconds() // an older one may be of a log that was forgotten
}

// forgetErasures drops the erasures that no node needs any longer; with all, all. It
// returns by how many there are more, and by how much memory. The lock is held.
func (st *stripe) forgetErasures(rs rules, now time.Time, all bool) (count int, memory int64) {
	for topic, list := range st.erasures {
		oldest := now.Add(-keepErasure)
		if rule := rs.of(topic); rule != nil {
			oldest = oldest.Add(-rule.Age)
		}
		list = slices.DeleteFunc(list, func(e erasure) bool {
			old := all || e.at < oldest.UnixMilli()
			if old {
				count, memory = count-1, memory-e.memory()
			}
			return old
		})
		if st.erasures[topic] = list; len(list) == 0 {
			delete(st.erasures, topic)
		}
	}
	return count, memory
}

// An entry about an erasure is
//
//	space topic made-log(8) made-number log(8) number before at marks
//
// where the first two are a length and that many bytes, and the other numbers are uvarints.
func (e *erasure) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(e.made.Log))
	b = binary.AppendUvarint(b, e.made.Number)
	b = binary.BigEndian.AppendUint64(b, uint64(e.id.Log))
	b = binary.AppendUvarint(b, e.id.Number)
	b = binary.AppendUvarint(b, uint64(e.before))
	b = binary.AppendUvarint(b, uint64(e.at))
	return appendMarks(b, e.upTo)
}

func parseErasure(b []byte) (e erasure, err error) {
	var before, at uint64
	for _, field := range []struct {
		log    *LogID
		number *uint64
	}{{&e.made.Log, &e.made.Number}, {&e.id.Log, &e.id.Number}, {nil, &before}, {nil, &at}} {
		if field.log != nil {
			if len(b) < 8 {
				return e, records.ErrMalformed
			}
			*field.log, b = LogID(binary.BigEndian.Uint64(b)), b[8:]
		}
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return e, records.ErrMalformed
		}
		*field.number, b = v, b[n:]
	}
	e.before, e.at = int64(before), int64(at)
	e.upTo, err = readMarks(b)
	return e, err
}

// applyErasure applies an entry about what another node has erased.
func (s *Store) applyErasure(log LogID, body []byte) error {
	space, rest, err := records.CutText(body)
	if err != nil {
		return err
	}
	topic, rest, err := records.CutText(rest)
	if err != nil {
		return err
	}
	e, err := parseErasure(rest)
	if err != nil || e.made.Log != log {
		return records.ErrMalformed
	}
	s.openShared(string(space)).erase(string(topic), func() *erasure { return &e })
	s.shared.raise(log, e.made.Number)
	return nil
}
