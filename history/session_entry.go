package history

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/internal/records"
)

// A position is seconds count { log(8) number }*. A session is
//
//	key(16) version given(1) count { position }* count { len topic guess }* seconds [index]
//
// where given is 1 if the session was given to another node before, and guess is twice the index of the topic's
// position, and 1 more if that is guessed. For so many seconds, topics that are not listed have a position too: that
// with the last index.

func appendPosition(b []byte, p Position) []byte {
	b = binary.AppendUvarint(b, uint64(p.at))
	b = binary.AppendUvarint(b, uint64(len(p.marks)))
	return appendMarks(b, p.marks)
}

func readPosition(b []byte) (p Position, rest []byte, err error) {
	var numbers [2]uint64
	for i := range numbers {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return p, nil, records.ErrMalformed
		}
		numbers[i], b = v, b[n:]
	}
	if int64(numbers[0]) < 0 || numbers[1] > uint64(len(b)/9) {
		return p, nil, records.ErrMalformed
	}
	p.at = int64(numbers[0])
	for range numbers[1] {
		if len(b) < 9 {
			return p, nil, records.ErrMalformed
		}
		number, n := binary.Uvarint(b[8:])
		if n <= 0 {
			return p, nil, records.ErrMalformed
		}
		p.marks.raise(LogID(binary.BigEndian.Uint64(b)), number)
		b = b[8+n:]
	}
	return p, b, nil
}

// appendSession writes a session without a connection, for a node that it is given to; 0: for
// all, or none.
func (s *Sessions) appendSession(b []byte, one *Session, to LogID) []byte {
	var positions []*Position
	var topics []byte
	index := func(p *Position) uint64 {
		at := slices.Index(positions, p)
		if at < 0 {
			at = len(positions)
			positions = append(positions, p)
		}
		return uint64(at)
	}
	count := 0
	if one.rest != nil {
		count = len(one.rest.topics)
		for i := range one.rest.topics {
			t := &one.rest.topics[i]
			guess := index(t.pos) << 1
			if t.guessed {
				guess |= 1
			}
			topics = binary.AppendUvarint(records.AppendText(topics, t.name), guess)
		}
	}
	if left := one.fallsBackFor(s.store.now()); left > 0 {
		topics = binary.AppendUvarint(topics, uint64(left/time.Second))
		topics = binary.AppendUvarint(topics, index(one.rest.after))
	} else {
		topics = binary.AppendUvarint(topics, 0)
	}
	var version uint64
	given := byte(0)
	if r := one.rest; r != nil {
		if version = r.version; r.givenTo != 0 && r.givenTo != to {
			given = 1
		}
	}
	b = append(binary.AppendUvarint(append(b, one.key[:]...), version), given)
	b = binary.AppendUvarint(b, uint64(len(positions)))
	for _, p := range positions {
		b = appendPosition(b, *p)
	}
	return append(binary.AppendUvarint(b, uint64(count)), topics...)
}

// fallsBackFor returns for how long topics that are not listed have a position, in whole seconds.
func (one *Session) fallsBackFor(now time.Time) time.Duration {
	if one.rest == nil || one.rest.after == nil {
		return 0
	}
	return max(0, one.rest.afterUntil.Sub(now).Truncate(time.Second))
}

// someNode stands for the node that a session was given to, where that is not known.
const someNode LogID = 1

// readSession reads a session, whose topics have just ended. The caller holds mu.
func (s *Sessions) readSession(b []byte) (one *Session, rest []byte, err error) {
	one = new(Session)
	if len(b) < len(one.key) {
		return nil, nil, records.ErrMalformed
	}
	copy(one.key[:], b)
	version, n := binary.Uvarint(b[len(one.key):])
	if b = b[len(one.key)+max(n, 0):]; n <= 0 || len(b) == 0 {
		return nil, nil, records.ErrMalformed
	}
	given := b[0] != 0
	count, n := binary.Uvarint(b[1:])
	if n <= 0 || count > uint64(len(b)) {
		return nil, nil, records.ErrMalformed
	}
	b = b[1+n:]
	positions := make([]*Position, count)
	for i := range positions {
		var p Position
		if p, b, err = readPosition(b); err != nil {
			return nil, nil, err
		}
		positions[i] = &p
	}
	if count, n = binary.Uvarint(b); n <= 0 || count > maxSessionTopics {
		return nil, nil, records.ErrMalformed
	}
	b = b[n:]
	now := s.store.now()
	for range count {
		name, behind, err := records.CutText(b)
		if err != nil {
			return nil, nil, err
		}
		guess, n := binary.Uvarint(behind)
		if n <= 0 || guess>>1 >= uint64(len(positions)) {
			return nil, nil, records.ErrMalformed
		}
		b = behind[n:]
		one.add(sessionTopic{name: string(name), pos: positions[guess>>1], ended: now.Unix(), known: true, guessed: guess&1 != 0})
	}
	seconds, n := binary.Uvarint(b)
	if b = b[max(n, 0):]; n <= 0 || seconds > uint64(SessionAge/time.Second) {
		return nil, nil, records.ErrMalformed
	}
	if seconds > 0 {
		at, n := binary.Uvarint(b)
		if n <= 0 || at >= uint64(len(positions)) {
			return nil, nil, records.ErrMalformed
		}
		b = b[n:]
		one.fallBack(positions[at], now.Add(time.Duration(seconds)*time.Second))
	}
	if s.version = max(s.version, version); one.rest != nil {
		one.rest.version = version
		if given {
			one.rest.givenTo = someNode
		}
	}
	return one, b, nil
}
