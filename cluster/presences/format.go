package presences

import (
	"iter"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/internal/records"
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
// A snapshot is a stream of records:
//
//	1 space     name          of the topics that follow
//	2 topic     name          of the presences that follow
//	3 presence  len key meta
const (
	recordSpace byte = iota + 1
	recordTopic
	recordPresence
)

// list is a list of presences that entries change.
type list interface {
	Join(topic, key, meta string)
	Leave(topic, key, ref string)
}

type entry struct{ space, topic, key, rest string }

func parseEntry(b []byte) (e entry, err error) {
	for _, field := range []*string{&e.space, &e.topic, &e.key} {
		var text []byte
		if text, b, err = records.CutText(b); err != nil {
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

// listWriter writes presences, those of a space and topic after the other.
type listWriter struct {
	*records.Writer
	topic string
	first bool   // no topic of the space has been written
	key   []byte // reused
}

func newListWriter(size int, yield func(part []byte)) *listWriter {
	return &listWriter{Writer: records.NewWriter(size, yield)}
}

func (w *listWriter) space(name string) {
	w.Record(recordSpace, []byte(name))
	w.first = true
}

func (w *listWriter) presence(topic, key, meta string) {
	if w.first || topic != w.topic {
		w.Record(recordTopic, []byte(topic))
		w.first, w.topic = false, topic
	}
	w.key = append(records.AppendText(w.key[:0], key), meta...)
	w.Record(recordPresence, w.key)
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
	var space, topic string
	err = records.Read(parts, func(typ byte, body []byte) error {
		switch typ {
		case recordSpace:
			space = string(body)
		case recordTopic:
			topic = string(body)
		case recordPresence:
			key, meta, err := records.CutText(body)
			if err != nil {
				return err
			}
			r.of(space).Join(topic, string(key), string(meta))
		}
		return nil
	})
	return r, err
}
