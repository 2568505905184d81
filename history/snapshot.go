package history

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/internal/records"
)

// A snapshot is a stream of records:
//
//	1 log      log(8) number         the last number of a log
//	2 space    name                  of what follows
//	3 lost     milliseconds marks    what removed rings of the space have lost
//	4 topic    len name milliseconds marks   of the messages that follow, and what it has lost
//	5 message  as in a ring
//	6 erased   len topic erasure     of the space; before its topics
//
// where marks are { log(8) number }*.
const (
	recordLog byte = iota + 1
	recordSpace
	recordLost
	recordTopic
	recordMessage
	recordErased
)

func appendMarks(b []byte, list marks) []byte {
	for _, m := range list {
		b = binary.BigEndian.AppendUint64(b, uint64(m.log))
		b = binary.AppendUvarint(b, m.number)
	}
	return b
}

// Snapshot yields those messages of shared spaces that this node has to send to others,
// in parts of at most size bytes: its own, and those of nodes that are not heard.
func (s *Store) Snapshot(size int, yield func(part []byte)) {
	if s.shared == nil {
		return
	}
	w := records.NewWriter(size, yield)
	l := s.shared
	s.write(w, l, extent{heads: append(l.silent(), mark{l.id, l.published()})})
	w.Flush()
}

// extent says which messages are written: of the logs that heads has those behind number
// from, up to heads. What is recorded meanwhile is above them, and so is left to its entry.
type extent struct {
	heads marks
	from  uint64
}

func (x *extent) has(log LogID, number uint64) bool {
	return number > x.from && number <= x.heads.of(log)
}

// floor returns the part of a floor that concerns these messages.
func (x *extent) floor(list marks) (part marks) {
	for _, m := range list {
		if m.number > x.from && x.heads.of(m.log) > x.from {
			part = append(part, mark{m.log, min(m.number, x.heads.of(m.log))})
		}
	}
	return part
}

// write writes the spaces of l.
func (s *Store) write(w *records.Writer, l *logs, x extent) {
	for _, m := range x.heads {
		w.Record(recordLog, appendMarks(nil, marks{m}))
	}
	s.mu.Lock()
	list := s.list
	s.mu.Unlock()
	for _, sp := range list {
		if sp.logs.Load() == l {
			sp.write(w, &x)
		}
	}
}

func (sp *Space) write(w *records.Writer, x *extent) {
	w.Record(recordSpace, []byte(sp.name))
	topics := sp.topics()
	for _, topic := range topics {
		sp.writeErasures(w, topic)
	}
	for _, topic := range topics {
		sp.writeTopic(w, topic, x)
	}
	// This is last: rings may have been removed meanwhile.
	floor, lost := sp.forgotten()
	w.Record(recordLost, binary.AppendUvarint(nil, uint64(lost)), appendMarks(nil, x.floor(floor)))
}

// topics returns the topics with rings or erasures, sorted.
func (sp *Space) topics() (list []string) {
	stripes := sp.all()
	for i := range stripes {
		st := &stripes[i]
		sp.lock(st)
		list = slices.AppendSeq(list, maps.Keys(st.rings))
		list = slices.AppendSeq(list, maps.Keys(st.erasures))
		st.mu.Unlock()
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (sp *Space) writeErasures(w *records.Writer, topic string) {
	st := sp.stripe(topic)
	sp.lock(st)
	defer st.mu.Unlock()
	for _, e := range st.erasures[topic] {
		w.Record(recordErased, e.append(records.AppendText(nil, topic)))
	}
}

func (sp *Space) writeTopic(w *records.Writer, topic string, x *extent) {
	st := sp.stripe(topic)
	sp.lock(st)
	defer st.mu.Unlock()
	r := st.rings[topic]
	if r == nil {
		return
	}
	head := binary.AppendUvarint(records.AppendText(nil, topic), uint64(r.lost))
	w.Record(recordTopic, head, appendMarks(nil, x.floor(r.floor)))
	for k := range r.all {
		if x.has(k.log, k.number) {
			m := k.message(string(k.event))
			w.Record(recordMessage, appendMessage(nil, &m))
		}
	}
}

// state is a snapshot that was read.
type state struct {
	heads  marks
	spaces []spaceState
}

type spaceState struct {
	name   string
	floor  marks
	lost   int64
	erased []erasedState
	topics []topicState
}

type erasedState struct {
	topic string
	erasure
}

type topicState struct {
	name     string
	floor    marks
	lost     int64
	messages []Message
}

// readParts reads a snapshot. After an error it returns what came before.
func readParts(parts iter.Seq[[]byte]) (s state, err error) {
	err = records.Read(parts, s.add)
	return s, err
}

// add adds a record.
func (s *state) add(typ byte, body []byte) (err error) {
	var sp *spaceState
	var topic *topicState
	if n := len(s.spaces); n > 0 {
		sp = &s.spaces[n-1]
		if n := len(sp.topics); n > 0 {
			topic = &sp.topics[n-1]
		}
	}
	switch {
	case typ == recordLog:
		var list marks
		list, err = readMarks(body)
		s.heads.raiseAll(list)
	case typ == recordSpace:
		s.spaces = append(s.spaces, spaceState{name: string(body)})
	case typ > recordErased:
	case sp == nil || typ == recordMessage && topic == nil:
		return records.ErrMalformed
	case typ == recordLost:
		sp.lost, sp.floor, err = readLost(body)
	case typ == recordErased:
		topic, rest, err := records.CutText(body)
		if err != nil {
			return err
		}
		e, err := parseErasure(rest)
		if err != nil {
			return err
		}
		sp.erased = append(sp.erased, erasedState{string(topic), e})
	case typ == recordTopic:
		name, rest, err := records.CutText(body)
		if err != nil {
			return err
		}
		t := topicState{name: string(name)}
		if t.lost, t.floor, err = readLost(rest); err != nil {
			return err
		}
		sp.topics = append(sp.topics, t)
	case typ == recordMessage:
		k, err := parseKept(body)
		if err != nil {
			return err
		}
		m := k.message(string(k.event))
		m.Payload = bytes.Clone(m.Payload)
		topic.messages = append(topic.messages, m)
	}
	return err
}

func readLost(b []byte) (lost int64, floor marks, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return 0, nil, records.ErrMalformed
	}
	floor, err = readMarks(b[size:])
	return int64(n), floor, err
}

func readMarks(b []byte) (list marks, err error) {
	for len(b) > 0 {
		if len(b) < 9 {
			return nil, records.ErrMalformed
		}
		number, n := binary.Uvarint(b[8:])
		if n <= 0 {
			return nil, records.ErrMalformed
		}
		list.raise(LogID(binary.BigEndian.Uint64(b)), number)
		b = b[8+n:]
	}
	return list, nil
}

// Restore adds what the Snapshot of another node has yielded, whose log is given. Clients
// of this node are sent the messages that they missed because entries were lost.
func (s *Store) Restore(log LogID, parts iter.Seq[[]byte]) error {
	if s.shared == nil {
		return errNotShared
	}
	st, err := readParts(parts)
	s.restore(s.shared, &st)
	s.adoptErasures(false) // the node may be about to be heard
	s.noteHeads(log, st.heads)
	return err
}

// restore adds a state to the spaces of l.
func (s *Store) restore(l *logs, st *state) {
	for i := range st.spaces {
		one := &st.spaces[i]
		sp := s.Open(one.name)
		sp.logs.Store(l)
		for _, r := range *sp.rules.Load() {
			r.forget(one.floor, one.lost)
		}
		for i := range one.erased {
			sp.erase(one.erased[i].topic, func() *erasure { return &one.erased[i].erasure })
		}
		var lost []string
		for i := range one.topics {
			if sp.restore(l, st.heads, &one.topics[i]) {
				lost = append(lost, one.topics[i].name)
			}
		}
		if l.lacks(one.floor) {
			sp.restoreFloor(l, one)
			sp.lose(nil)
		} else if lost != nil {
			sp.lose(lost)
		}
	}
	for _, m := range st.heads {
		l.raise(m.log, m.number)
	}
	s.makeRoom()
}

// restoreFloor notes in rings that the other node did not have what messages of their topics
// it may have dropped.
func (sp *Space) restoreFloor(l *logs, from *spaceState) {
	there := make(map[string]bool, len(from.topics))
	for _, t := range from.topics {
		there[t.name] = true
	}
	stripes := sp.all()
	for i := range stripes {
		st := &stripes[i]
		sp.lock(st)
		for topic, r := range st.rings {
			for _, m := range from.floor {
				if !there[topic] && l.lacks(marks{m}) {
					r.floor.raise(m.log, m.number)
				}
			}
		}
		st.mu.Unlock()
	}
}

// lose tells the receivers that their clients will not be sent some messages.
func (sp *Space) lose(topics []string) {
	for _, one := range sp.getReceivers() {
		(*one).Lost(topics, NodeLost)
	}
}

// restore adds messages to a topic: those that are not there yet, and that the snapshot's
// heads cover. It reports whether there were some that clients cannot be sent: they were
// dropped, or are of a log that nobody here knew of.
func (sp *Space) restore(l *logs, heads marks, t *topicState) (lost bool) {
	st := sp.stripe(t.name)
	sp.lock(st)
	defer st.mu.Unlock()
	var here marks // messages up to these numbers are there, or have been, or count as dropped
	if r := st.rings[t.name]; r != nil {
		here.raiseAll(r.floor)
		for k := range r.all {
			here.raise(k.log, k.number)
		}
	}
	added := false
	for i := range t.messages {
		m := &t.messages[i]
		known, live := l.headOf(m.Log)
		if m.Log == l.id || m.Number > heads.of(m.Log) || m.Number <= known || st.isErased(t.name, m) {
			continue
		}
		if m.Number <= here.of(m.Log) { // it counts as dropped, with what was restored of other topics and dropped since
			lost = true
			continue
		}
		r := sp.ringFor(st, t.name, m.Event)
		if r != nil {
			sp.store.bytes.Add(r.add(m))
			sp.store.stats.messages.Add(1)
			added = true
		}
		if !live {
			lost = true
			continue
		}
		for _, one := range sp.getReceivers() {
			(*one).Receive(t.name, m, r != nil)
		}
	}
	r := st.rings[t.name]
	if r == nil {
		if rule := sp.rules.Load().of(t.name); rule != nil {
			rule.forget(t.floor, t.lost)
		}
		return lost || l.lacks(t.floor)
	}
	for _, m := range t.floor {
		if m.log != l.id && m.number > here.of(m.log) {
			r.floor.raise(m.log, m.number)
			lost = lost || l.lacks(marks{m})
		}
	}
	r.lost = max(r.lost, t.lost)
	if added {
		sp.sort(r)
	}
	sp.expire(r, sp.store.now())
	return lost
}

// sort brings the messages into the order of their times, those of each log into the
// order of their numbers. The stripe's lock is held.
func (sp *Space) sort(r *ring) {
	var logs []LogID
	byLog := make(map[LogID][]Message)
	for k := range r.all {
		if byLog[k.log] == nil {
			logs = append(logs, k.log)
		}
		byLog[k.log] = append(byLog[k.log], k.message(string(k.event)))
	}
	for _, list := range byLog {
		slices.SortStableFunc(list, func(a, b Message) int { return cmp.Compare(a.Number, b.Number) })
	}
	before, n := r.memory, r.count
	r.clear()
	for {
		var first LogID
		var at time.Time
		for _, log := range logs {
			if list := byLog[log]; len(list) > 0 && (at.IsZero() || list[0].Time.Before(at)) {
				first, at = log, list[0].Time
			}
		}
		if at.IsZero() {
			break
		}
		r.add(&byLog[first][0])
		byLog[first] = byLog[first][1:]
	}
	sp.store.bytes.Add(r.memory - before)
	sp.store.stats.messages.Add(int64(r.count - n))
}
