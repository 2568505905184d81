package history

import (
	"encoding/binary"
	"time"

	"github.com/mycelium-rt/mycelium/internal/records"
)

// erasure says which messages of a topic are erased. The zero erasure erases all.
type erasure struct {
	id     ID    // of one message; zero: of more than one
	before int64 // Unix milliseconds; 0: whenever they were recorded
}

func (e erasure) matches(k *kept) bool {
	switch {
	case e.id != ID{}:
		return k.log == e.id.Log && k.number == e.id.Number
	case e.before != 0:
		return k.ms < e.before
	}
	return true
}

// Delete drops all messages of a topic, and returns how many there were on this node.
// Clients that come back are not told that they missed them. In a shared space the other
// nodes drop them too.
func (sp *Space) Delete(topic string) int { return sp.eraseAll(topic, erasure{}) }

// Erase drops one message of a topic, as [Space.Delete] does, and reports whether it was
// here.
func (sp *Space) Erase(topic string, id ID) bool { return sp.eraseAll(topic, erasure{id: id}) > 0 }

// TrimBefore drops the messages of a topic that were recorded before a time, as
// [Space.Delete] does, and returns how many there were here.
func (sp *Space) TrimBefore(topic string, at time.Time) int {
	return sp.eraseAll(topic, erasure{before: at.UnixMilli()})
}

// eraseAll erases messages here and, in a shared space, on the other nodes.
func (sp *Space) eraseAll(topic string, e erasure) int {
	n := sp.erase(topic, e.matches)
	if l := sp.logs.Load(); l.erase != nil {
		l.erase(e.append(records.AppendText(records.AppendText(nil, sp.name), topic)))
	}
	return n
}

// An entry about an erasure is
//
//	space topic log(8) number milliseconds
//
// where the first two are a length and that many bytes, and the last two are uvarints.
func (e erasure) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(e.id.Log))
	b = binary.AppendUvarint(b, e.id.Number)
	return binary.AppendUvarint(b, uint64(e.before))
}

// ApplyErasure applies an entry about what another node has erased.
func (s *Store) ApplyErasure(entry []byte) error {
	space, rest, err := records.CutText(entry)
	if err != nil {
		return err
	}
	topic, rest, err := records.CutText(rest)
	if err != nil || len(rest) < 8 || s.shared == nil {
		return records.ErrMalformed
	}
	e := erasure{id: ID{Log: LogID(binary.BigEndian.Uint64(rest))}}
	number, n := binary.Uvarint(rest[8:])
	if n <= 0 {
		return records.ErrMalformed
	}
	before, m := binary.Uvarint(rest[8+n:])
	if m <= 0 {
		return records.ErrMalformed
	}
	e.id.Number, e.before = number, int64(before)
	s.openShared(string(space)).erase(string(topic), e.matches)
	return nil
}
