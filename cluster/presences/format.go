package presences

import (
	"encoding/binary"
	"errors"
	"iter"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/presence"
)

// An entry is
//
//	space topic key rest
//
// where each of the first three is a length (uvarint) and that many bytes; rest
// is the meta of a join, or the phx_ref of a leave. A join replaces the
// presence that its meta names as phx_ref_prev.
//
// A snapshot is a stream of records, cut into parts anywhere:
//
//	type(1) len body
//
//	1 space     name          of the topics that follow
//	2 topic     name          of the presences that follow
//	3 presence  len key meta
//
// Unknown records are skipped.
const (
	recordSpace byte = iota + 1
	recordTopic
	recordPresence
)

var errMalformed = errors.New("presences: malformed")

// list is a list of presences that entries change.
type list interface {
	Join(topic, key, meta string)
	Leave(topic, key, ref string)
}

type entry struct{ space, topic, key, rest string }

func parseEntry(b []byte) (e entry, err error) {
	for _, field := range []*string{&e.space, &e.topic, &e.key} {
		var text []byte
		if text, b, err = cutText(b); err != nil {
			return entry{}, err
		}
		*field = string(text)
	}
	e.rest = string(b)
	return e, nil
}

func (e entry) change(typ byte, l list) {
	if typ == cluster.TypeLeave {
		l.Leave(e.topic, e.key, e.rest)
	} else {
		l.Join(e.topic, e.key, e.rest)
	}
}

// cutText reads a length and that many bytes, and returns them and the rest.
func cutText(b []byte) (text, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, errMalformed
	}
	b = b[size:]
	return b[:n], b[n:], nil
}

// partWriter writes records and cuts them into parts.
type partWriter struct {
	size  int
	yield func(part []byte)
	part  []byte
	topic string
	first bool // no topic of the space has been written
	body  []byte
}

func (w *partWriter) space(name string) {
	w.record(recordSpace, append(w.body[:0], name...))
	w.first = true
}

func (w *partWriter) presence(topic, key, meta string) {
	if w.first || topic != w.topic {
		w.record(recordTopic, append(w.body[:0], topic...))
		w.first, w.topic = false, topic
	}
	w.record(recordPresence, append(appendText(w.body[:0], key), meta...))
}

// record writes a record whose body uses w.body's memory, which is reused for
// the next one.
func (w *partWriter) record(typ byte, body []byte) {
	w.body = body
	head := [1 + binary.MaxVarintLen64]byte{typ}
	w.write(head[:1+binary.PutUvarint(head[1:], uint64(len(body)))])
	w.write(body)
}

func (w *partWriter) write(b []byte) {
	for len(b) > 0 {
		if w.part == nil {
			w.part = make([]byte, 0, min(w.size, 4<<10))
		}
		n := min(len(b), w.size-len(w.part))
		w.part = append(w.part, b[:n]...)
		if b = b[n:]; len(w.part) == w.size {
			w.flush()
		}
	}
}

func (w *partWriter) flush() {
	if len(w.part) > 0 {
		w.yield(w.part)
		w.part = nil
	}
}

// rosters holds a node's presences, by space.
type rosters map[string]*presence.Roster

func (r rosters) of(space string) *presence.Roster {
	if r[space] == nil {
		r[space] = &presence.Roster{}
	}
	return r[space]
}

// readParts reads a snapshot. After an error it returns what came before.
func readParts(parts iter.Seq[[]byte]) (r rosters, err error) {
	r = make(rosters)
	var rest []byte
	var space, topic string
	for part := range parts {
		rest = append(rest, part...)
		for len(rest) > 0 {
			body, behind, err := cutText(rest[1:])
			if err != nil {
				break // continues in the next part
			}
			switch rest[0] {
			case recordSpace:
				space = string(body)
			case recordTopic:
				topic = string(body)
			case recordPresence:
				key, meta, err := cutText(body)
				if err != nil {
					return r, err
				}
				r.of(space).Join(topic, string(key), string(meta))
			}
			rest = behind
		}
	}
	if len(rest) > 0 {
		return r, errMalformed
	}
	return r, nil
}
