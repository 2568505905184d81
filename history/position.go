package history

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"time"
)

// LogID identifies a log: the messages that one process has recorded. It is
// random, drawn when the process starts, and is compared for equality only.
type LogID uint64

// mark is a message, or all messages up to it, in one log.
type mark struct {
	log    LogID
	number uint64
}

// marks have at most one mark for each log. There are few logs, one for each
// node, so they are searched one by one.
type marks []mark

// of returns the number of a log, 0 if it has none.
func (m marks) of(log LogID) uint64 {
	for i := range m {
		if m[i].log == log {
			return m[i].number
		}
	}
	return 0
}

func (m marks) has(log LogID) bool {
	return slices.ContainsFunc(m, func(one mark) bool { return one.log == log })
}

// raise raises the number of a log, adding the log if it is new.
func (m *marks) raise(log LogID, number uint64) {
	for i := range *m {
		if one := &(*m)[i]; one.log == log {
			one.number = max(one.number, number)
			return
		}
	}
	*m = append(*m, mark{log, number})
}

// raiseAll raises the numbers of all logs of other.
func (m *marks) raiseAll(other marks) {
	for _, one := range other {
		m.raise(one.log, one.number)
	}
}

// Position says what a client has of the history of a topic: for each log, the
// number of the last message. It is valid for that topic, on every node. The zero
// Position is that of a client that has nothing.
//
// Clients get positions as text, which they must not interpret.
type Position struct {
	at    int64 // when it was made, Unix seconds
	marks marks
}

// IsZero reports whether the position is that of a client that has nothing.
func (p Position) IsZero() bool { return len(p.marks) == 0 }

// Time returns when the position was made, to the second.
func (p Position) Time() time.Time { return time.Unix(p.at, 0) }

// Equal reports whether the positions include the same messages. When they were made does
// not count.
func (p Position) Equal(o Position) bool {
	if len(p.marks) != len(o.marks) {
		return false
	}
	for _, m := range p.marks {
		if !o.marks.has(m.log) || o.marks.of(m.log) != m.number {
			return false
		}
	}
	return true
}

// reaches reports whether p includes everything that o does of the logs that p has.
func (p *Position) reaches(o Position) bool {
	return !slices.ContainsFunc(p.marks, func(m mark) bool { return m.number < o.marks.of(m.log) })
}

// includes reports whether p includes everything that o does.
func (p *Position) includes(o Position) bool {
	return !slices.ContainsFunc(o.marks, func(m mark) bool { return p.marks.of(m.log) < m.number })
}

const (
	positionVersion = 1
	// maxPosition bounds the text of a position that is parsed, in bytes: enough for
	// 250 logs. Each start of a node makes a log, and it stays in positions for keepLog.
	maxPosition = 4096
)

// String returns the position as text for clients: base64url of
//
//	version(1) seconds { log(8) number }*
//
// where seconds and numbers are uvarints. It has some 50 characters for three
// logs.
func (p Position) String() string {
	b := make([]byte, 0, 8+len(p.marks)*(8+5))
	b = append(b, positionVersion)
	b = binary.AppendUvarint(b, uint64(p.at))
	for _, m := range p.marks {
		b = binary.BigEndian.AppendUint64(b, uint64(m.log))
		b = binary.AppendUvarint(b, m.number)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

var errPosition = errors.New("history: not a position of this version")

// ParsePosition parses what String has returned.
func ParsePosition(text string) (p Position, err error) {
	if len(text) > maxPosition {
		return Position{}, errPosition
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) == 0 || b[0] != positionVersion {
		return Position{}, errPosition
	}
	at, n := binary.Uvarint(b[1:])
	if n <= 0 || int64(at) < 0 {
		return Position{}, errPosition
	}
	p.at = int64(at)
	for b = b[1+n:]; len(b) > 0; {
		if len(b) < 9 {
			return Position{}, errPosition
		}
		log := LogID(binary.BigEndian.Uint64(b))
		number, n := binary.Uvarint(b[8:])
		if n <= 0 || p.marks.has(log) {
			return Position{}, errPosition
		}
		p.marks = append(p.marks, mark{log, number})
		b = b[8+n:]
	}
	return p, nil
}
