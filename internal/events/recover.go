package events

import (
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/outbox"
)

// lostWithServer is the reason in the events that end what had begun before a crash.
const lostWithServer = "server_lost"

const snapshotFile = "snapshot"

// ledger is what has begun and not ended at some point of a log. It ignores an event that
// is applied twice, and the end of something that it does not have.
type ledger struct {
	clients   map[uint64]*begun
	topics    map[string]bool
	presences map[string]present
	last      int64
}

// begun is a client that has connected, or joined a topic.
type begun struct {
	since  int64 // 0: not known
	head   string
	topics []string
}

// stored has the members of a body that the ledger reads.
type stored struct {
	Client    string          `json:"client"`
	Transport json.RawMessage `json:"transport"`
	SocketID  json.RawMessage `json:"socket_id"`
	User      json.RawMessage `json:"user"`
	Key       string          `json:"key"`
	Change    string          `json:"change"`
	Meta      json.RawMessage `json:"meta"`
}

// head returns client.head as it was.
func (b *stored) head() string {
	head := addString(nil, "client", b.Client)
	for _, m := range []struct {
		name  string
		value json.RawMessage
	}{{"transport", b.Transport}, {"socket_id", b.SocketID}, {"user", b.User}} {
		if m.value != nil {
			head = append(append(head, `,"`+m.name+`":`...), m.value...)
		}
	}
	return string(head)
}

func (l *ledger) apply(r outbox.Record) {
	l.last = max(l.last, r.Time)
	switch Kind(r.Kind) {
	case Connected:
		l.clientOf(r).since = r.Time
	case Disconnected:
		delete(l.clients, r.Who)
	case Joined:
		c := l.clientOf(r)
		if !slices.Contains(c.topics, r.Topic) {
			c.topics = append(c.topics, r.Topic)
		}
	case Left:
		if c := l.clients[r.Who]; c != nil {
			c.topics = slices.DeleteFunc(c.topics, func(t string) bool { return t == r.Topic })
		}
	case Occupied:
		l.topics[r.Topic] = true
	case Vacated:
		delete(l.topics, r.Topic)
	case Presence:
		l.applyPresence(r)
	}
}

func (l *ledger) clientOf(r outbox.Record) *begun {
	c := l.clients[r.Who]
	if c == nil {
		b := bodyOf(r)
		c = &begun{head: b.head()}
		l.clients[r.Who] = c
	}
	return c
}

func bodyOf(r outbox.Record) (b stored) {
	json.Unmarshal(append([]byte("{"), r.Body...), &b) //nolint:errcheck // it is what this package has written
	return b
}

func (l *ledger) applyPresence(r outbox.Record) {
	b := bodyOf(r)
	ref, before := refsOf(string(b.Meta))
	delete(l.presences, before)
	if b.Change == "leave" {
		delete(l.presences, ref)
		return
	}
	l.presences[ref] = present{r.Topic, b.Key, string(b.Meta)}
}

// refsOf returns the phx_ref and phx_ref_prev of a meta, which come first in it, in this
// order; the second is "" if there is none.
func refsOf(meta string) (ref, before string) {
	rest, ok := strings.CutPrefix(meta, `{"phx_ref":"`)
	if !ok {
		return "", ""
	}
	ref, rest, _ = strings.Cut(rest, `"`)
	if rest, ok = strings.CutPrefix(rest, `,"phx_ref_prev":"`); ok {
		before, _, _ = strings.Cut(rest, `"`)
	}
	return ref, before
}

// recover reads the log of the previous process, which may have crashed, and appends the
// ends of what had begun.
func (s *Stream) recover() error {
	if s.options.Dir == "" || s.log.Next() == 1 {
		return nil
	}
	l := &ledger{clients: make(map[uint64]*begun), topics: make(map[string]bool), presences: make(map[string]present)}
	from, err := outbox.ReadSnapshot(filepath.Join(s.options.Dir, snapshotFile), l.apply)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.options.Log.Error("could not read which clients were connected before the start").Err(err).Str("instance", s.options.Instance).Write()
	}
	s.keeper.from = from
	r := s.log.NewReader(from)
	for {
		records, _, err := r.Read()
		if err != nil {
			return err
		}
		if len(records) == 0 {
			break
		}
		for _, rec := range records {
			l.apply(rec)
		}
	}
	s.lastTime = l.last
	return s.endAll(l)
}

// endAll appends the ends of everything in a ledger.
func (s *Stream) endAll(l *ledger) error {
	var list []*outbox.Record
	end := func(k Kind, topic string, who uint64, body []byte) {
		list = append(list, &outbox.Record{Time: s.lastTime, Kind: uint8(k), Who: who, Topic: topic, Body: body})
	}
	now := milliseconds(s.options.Now())
	estimate := l.last // nobody knows when it crashed: not before its last event
	s.lastTime = max(now, l.last)
	numbers := slices.Sorted(maps.Keys(l.clients))
	for _, number := range numbers {
		c := l.clients[number]
		for _, topic := range c.topics {
			end(Left, topic, number, endedBody(nil, Left, topic, c.head, lostWithServer, 0, -1))
		}
	}
	for _, ref := range slices.Sorted(maps.Keys(l.presences)) {
		p := l.presences[ref]
		end(Presence, p.topic, 0, presenceBody(nil, p, "leave"))
	}
	for _, topic := range slices.Sorted(maps.Keys(l.topics)) {
		end(Vacated, topic, 0, topicBody(nil, Vacated, topic, ""))
	}
	for _, number := range numbers {
		c := l.clients[number]
		lasted := (&client{since: c.since}).lasted(estimate)
		end(Disconnected, "", number, endedBody(nil, Disconnected, "", c.head, lostWithServer, 0, lasted))
	}
	for batch := range slices.Chunk(list, 1000) {
		if err := s.log.Append(batch...); err != nil {
			return err
		}
	}
	return nil
}

// beginnings yields the records of what has begun and not ended. It holds mu for one part
// of them at a time. Events that happen meanwhile come after the number of the snapshot
// in the log, so it does not matter whether the snapshot includes them.
func (s *Stream) beginnings() iter.Seq[outbox.Record] {
	const part = 1000
	return func(yield func(outbox.Record) bool) {
		s.mu.Lock()
		sockets := slices.Collect(maps.Keys(s.clients))
		topics := slices.Collect(maps.Keys(s.topics))
		refs := slices.Collect(maps.Keys(s.presences))
		s.mu.Unlock()
		for some := range slices.Chunk(sockets, part) {
			if !yieldAll(yield, s.clientRecords(some)) {
				return
			}
		}
		for some := range slices.Chunk(topics, part) {
			if !yieldAll(yield, s.topicRecords(some)) {
				return
			}
		}
		for some := range slices.Chunk(refs, part) {
			if !yieldAll(yield, s.presenceRecords(some)) {
				return
			}
		}
	}
}

func yieldAll(yield func(outbox.Record) bool, list []outbox.Record) bool {
	for _, r := range list {
		if !yield(r) {
			return false
		}
	}
	return true
}

func (s *Stream) clientRecords(sockets []*channels.Socket) (list []outbox.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.wanted.Load()
	if u == nil {
		return nil
	}
	for _, socket := range sockets {
		c := s.clients[socket]
		if c == nil {
			continue
		}
		if u.needs(Connected, "", "") && c.since > 0 {
			list = append(list, outbox.Record{Time: c.since, Kind: uint8(Connected), Who: c.number, Body: topicBody(nil, Connected, "", c.head)})
		}
		for _, topic := range c.topics {
			if u.needs(Joined, topic, "") {
				list = append(list, outbox.Record{Kind: uint8(Joined), Who: c.number, Topic: topic, Body: topicBody(nil, Joined, topic, c.head)})
			}
		}
	}
	return list
}

func (s *Stream) topicRecords(topics []string) (list []outbox.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.wanted.Load()
	for _, topic := range topics {
		if u != nil && s.topics[topic] > 0 && u.needs(Occupied, topic, "") {
			list = append(list, outbox.Record{Kind: uint8(Occupied), Topic: topic, Body: topicBody(nil, Occupied, topic, "")})
		}
	}
	return list
}

func (s *Stream) presenceRecords(refs []string) (list []outbox.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.wanted.Load()
	for _, ref := range refs {
		if p, ok := s.presences[ref]; ok && u != nil && u.needs(Presence, p.topic, "") {
			list = append(list, outbox.Record{Kind: uint8(Presence), Topic: p.topic, Body: presenceBody(nil, p, "join")})
		}
	}
	return list
}
