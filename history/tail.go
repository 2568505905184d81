package history

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/mycelium-rt/mycelium/internal/records"
)

// When a node dies, its last messages may have reached some of the others only. The tail of
// its log is what one node has of it and another has not. Nodes tell each other up to where
// they have the logs that they do not hear; of those that have the most, the one with the
// lowest log sends the others the tail.

// tails is what other nodes have said that they have of logs that they do not hear, by log
// and node.
type tails map[LogID]map[LogID]uint64

// note notes that a node has a log up to a number, as it has said.
func (t *tails) note(log, node LogID, number uint64) {
	if *t == nil {
		*t = make(tails)
	}
	if (*t)[log] == nil {
		(*t)[log] = make(map[LogID]uint64)
	}
	(*t)[log][node] = number
}

// most returns the largest number that a node has of a log.
func (t tails) most(log LogID) (number uint64) {
	for n := range maps.Values(t[log]) {
		number = max(number, n)
	}
	return number
}

// forgetNode forgets what a node has said.
func (t tails) forgetNode(node LogID) {
	for log, nodes := range t {
		if delete(nodes, node); len(nodes) == 0 {
			delete(t, log)
		}
	}
}

// lacking returns the lowest number that a node has of a log, if this node, which has it up
// to number, is to send the tail. The caller holds mu.
func (l *logs) lacking(log LogID, number uint64) (from uint64, send bool) {
	from = number
	for node, n := range l.tails[log] {
		if n >= number && node < l.id {
			return 0, false // that node sends it
		}
		from = min(from, n)
	}
	return from, from < number
}

// tailsToSend returns, for each log that is not heard, from where on this node is to send it
// to others. It notes that they have it.
func (l *logs) tailsToSend() (list []tail) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, log := range slices.Sorted(maps.Keys(l.tails)) {
		o := l.find(log)
		if o == nil || o.up {
			continue
		}
		if from, send := l.lacking(log, o.number); send {
			list = append(list, tail{log, from, o.number})
			l.noteTail(tail{log, from, o.number})
		}
	}
	return list
}

// noteTail notes that all nodes have been sent a tail, which they get unless its sender
// dies: then all nodes say again what they have. The caller holds mu.
func (l *logs) noteTail(t tail) {
	for node, n := range l.tails[t.log] {
		if n >= t.from {
			l.tails[t.log][node] = max(n, t.to)
		}
	}
}

// tail is the part of a log behind number from, up to number to.
type tail struct {
	log      LogID
	from, to uint64
}

// An entry of the state of a history begins with one of these.
const (
	stateErased byte = iota + 1 // space topic erasure
	stateHeads                  // marks: up to where the node has logs that it does not hear
	stateTail                   // log(8) from to, and a snapshot with what is between
)

// ApplyState applies an entry of another node that [Store.Share] was given a function for.
func (s *Store) ApplyState(log LogID, entry []byte) error {
	if s.shared == nil || log == s.shared.id || len(entry) == 0 {
		return records.ErrMalformed
	}
	switch body := entry[1:]; entry[0] {
	case stateErased:
		return s.applyErasure(log, body)
	case stateHeads:
		heads, err := readMarks(body)
		if err == nil {
			s.noteHeads(log, heads)
		}
		return err
	case stateTail:
		return s.applyTail(body)
	}
	return nil // of a later version
}

// tellHeads tells the other nodes up to where this one has logs that it does not hear: some,
// or all that are known of.
func (s *Store) tellHeads(some ...LogID) {
	heads := s.shared.silent()
	if len(some) > 0 {
		heads = slices.DeleteFunc(heads, func(m mark) bool { return !slices.Contains(some, m.log) })
	}
	if len(heads) > 0 {
		s.shared.state(appendMarks([]byte{stateHeads}, heads))
	}
}

// silent returns up to where the logs are here that are not heard.
func (l *logs) silent() (heads marks) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.others {
		if !o.up {
			heads = append(heads, o.mark)
		}
	}
	for _, log := range slices.Sorted(maps.Keys(l.tails)) {
		if l.find(log) == nil {
			heads = append(heads, mark{log: log}) // only others have something
		}
	}
	return heads
}

// noteHeads notes up to where another node has logs. If that is further than here, this
// node says so; if it is less far, the node may be sent the rest.
func (s *Store) noteHeads(node LogID, heads marks) {
	l := s.shared
	var behind []LogID
	l.mu.Lock()
	for _, m := range heads {
		if m.log == l.id || m.log == node {
			continue
		}
		o, before := l.find(m.log), l.tails.most(m.log)
		l.tails.note(m.log, node, m.number) // this node may hear it still
		if (o == nil || !o.up && o.number < m.number) && before < m.number {
			behind = append(behind, m.log)
		}
	}
	l.mu.Unlock()
	if len(behind) > 0 {
		s.tellHeads(behind...)
	}
	s.sendTails()
}

// sendTails sends other nodes what they lack of logs that are not heard.
func (s *Store) sendTails() {
	for _, t := range s.shared.tailsToSend() {
		entry := s.appendTail(nil, t)
		for len(entry) > tailBytes && t.to-t.from > 1 {
			t.to -= (t.to - t.from) / 2
			entry = s.appendTail(nil, t)
		}
		s.shared.state(entry)
	}
}

// tailBytes bounds an entry with a tail, because package cluster refuses more than 64 MiB. A
// node that has got the beginning says so, and is sent what follows. It is a variable for
// tests.
var tailBytes = 48 << 20

const tailPart = 64 << 10

// appendTail appends an entry with a tail.
func (s *Store) appendTail(b []byte, t tail) []byte {
	b = binary.BigEndian.AppendUint64(append(b, stateTail), uint64(t.log))
	b = binary.AppendUvarint(binary.AppendUvarint(b, t.from), t.to)
	w := records.NewWriter(tailPart, func(part []byte) { b = append(b, part...) })
	s.write(w, s.shared, extent{marks{{t.log, t.to}}, t.from})
	w.Flush()
	return b
}

// applyTail adds a tail, unless something between it and what is here is missing.
func (s *Store) applyTail(body []byte) error {
	if len(body) < 8 {
		return records.ErrMalformed
	}
	t := tail{log: LogID(binary.BigEndian.Uint64(body))}
	rest := body[8:]
	for _, into := range []*uint64{&t.from, &t.to} {
		v, n := binary.Uvarint(rest)
		if n <= 0 {
			return records.ErrMalformed
		}
		*into, rest = v, rest[n:]
	}
	l := s.shared
	head, _ := l.headOf(t.log)
	l.mu.Lock()
	l.noteTail(t)
	l.mu.Unlock()
	switch {
	case t.log == l.id || head >= t.to:
		return nil
	case head < t.from: // the sender does not know
		s.tellHeads(t.log)
		return nil
	}
	st, err := readParts(slices.Values([][]byte{rest}))
	s.restore(l, &st)
	l.mu.Lock()
	behind := l.tails.most(t.log) > t.to
	l.mu.Unlock()
	if behind { // what follows was too large, or has come before this, in vain
		s.tellHeads(t.log)
	}
	return err
}
