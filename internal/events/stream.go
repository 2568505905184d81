package events

import (
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/outbox"
)

// Bounds of a stream.
const (
	// DefaultLimit bounds the events that wait for hooks, in bytes.
	DefaultLimit = 64 << 20
	// minLimit leaves room for the events since the last snapshot.
	minLimit = 16 << 20
	// DefaultKept is how many bytes of events are kept after all hooks have taken them.
	// In memory it is divided by keptInMemory.
	DefaultKept  = 8 << 20
	keptInMemory = 8
	// DefaultMaxAge is how long the delivery of an event is tried.
	DefaultMaxAge = 24 * time.Hour
	// segments is the number of segments that make up the limit. Events are dropped by
	// the segment.
	segments = 16
	// excess is the part of the limit, 1/excess, by which the outbox may exceed it until
	// the keeper has dropped the oldest events.
	excess = 4
)

// streamOptions configure a [Stream].
type streamOptions struct {
	Instance      string
	Node          string // name of this node in a cluster; "" on a single one
	Dir           string // "" keeps everything in memory
	Limit, Kept   int64
	MaxAge        time.Duration
	SnapshotAfter uint64
	Log           *logging.Log
	Now           func() time.Time
}

// Stream is the events of one instance on this node. It observes the instance, and never
// makes it wait for a back end: events that cannot be stored are counted, and a Lost
// event reports them later.
type Stream struct {
	// Static after openStream.
	options streamOptions
	epoch   string // begins the ids of events; made with the outbox
	run     string // begins the names of clients; made with the Stream
	log     *outbox.Log
	keeper  keeper
	over    chan struct{} // closed when another stream has taken the place of this one

	wanted atomic.Pointer[union] // nil: nobody listens

	mu sync.Mutex

	// Guarded by mu.
	clients    map[*channels.Socket]*client
	topics     map[string]int     // clients in each topic
	presences  map[string]present // by phx_ref
	lastClient uint64
	missed     uint64 // events that could not be stored since the last one that was
	lastTime   int64
	pending    []outbox.Record // to be appended; memory for reuse
	records    []*outbox.Record
	body       []byte

	stored, missedAll atomic.Uint64 // counters

	listeners listeners

	// Guarded by Events.mu.
	life        *instances.Instance // the instance that is observed, or was last; nil: none
	undelivered bool                // when the hooks ended, one had not been sent everything
}

// runName returns a short random name.
func runName() string { return strings.ToLower(cryptorand.Text()[:8]) }

// openStream opens the stream of an instance. If the previous process crashed, the ends
// of what had begun are appended first.
func openStream(o streamOptions) (*Stream, error) {
	o.Limit = max(o.Limit, minLimit)
	s := &Stream{
		options: o, run: runName(), epoch: runName(), over: make(chan struct{}),
		clients: make(map[*channels.Socket]*client), topics: make(map[string]int), presences: make(map[string]present),
	}
	s.keeper.init(s)
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, err
		}
		if err := s.readEpoch(); err != nil {
			return nil, err
		}
	}
	var err error
	if s.log, err = outbox.Open(outbox.Options{Dir: o.Dir, Segment: o.Limit / segments}); err != nil {
		return nil, err
	}
	if err := s.recover(); err != nil {
		return nil, errors.Join(err, s.log.Close())
	}
	s.keeper.start()
	return s, nil
}

// readEpoch reads the epoch of an outbox, or makes one.
func (s *Stream) readEpoch() error {
	path := filepath.Join(s.options.Dir, "epoch")
	text, err := os.ReadFile(path)
	switch {
	case err == nil && len(text) > 0:
		s.epoch = strings.TrimSpace(string(text))
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return os.WriteFile(path, []byte(s.epoch+"\n"), 0o600)
}

// Observes implements [channels.Observer].
func (s *Stream) Observes(topic string) bool {
	u := s.wanted.Load()
	return u != nil && u.publishes(topic)
}

// Observe implements [channels.Observer].
func (s *Stream) Observe(o channels.Observation) {
	u := s.wanted.Load()
	if u == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	switch o.Kind {
	case channels.ObservedConnect:
		c := s.clientOf(o.Socket)
		c.since = now
		s.add(u, Connected, "", "", c.number, now, func(b []byte) []byte { return topicBody(b, Connected, "", c.head) })
	case channels.ObservedDisconnect:
		c := s.clientOf(o.Socket)
		delete(s.clients, o.Socket)
		s.add(u, Disconnected, "", "", c.number, now, func(b []byte) []byte {
			return endedBody(b, Disconnected, "", c.head, o.Reason, o.Code, c.lasted(now))
		})
	case channels.ObservedJoin:
		s.joined(u, &o, now)
	case channels.ObservedLeave:
		s.left(u, &o, now)
	case channels.ObservedBroadcast:
		s.published(u, &o, now)
	}
	s.flush()
}

func (s *Stream) joined(u *union, o *channels.Observation, now int64) {
	c, topic := s.clientOf(o.Socket), o.Topic
	c.topics = append(c.topics, topic)
	s.topics[topic]++
	if s.topics[topic] == 1 {
		s.add(u, Occupied, topic, "", 0, now, func(b []byte) []byte { return topicBody(b, Occupied, topic, "") })
	}
	s.add(u, Joined, topic, "", c.number, now, func(b []byte) []byte { return topicBody(b, Joined, topic, c.head) })
}

func (s *Stream) left(u *union, o *channels.Observation, now int64) {
	c, topic := s.clientOf(o.Socket), o.Topic
	s.add(u, Left, topic, "", c.number, now, func(b []byte) []byte { return endedBody(b, Left, topic, c.head, o.Reason, 0, -1) })
	if !c.drop(topic) {
		return
	}
	if s.topics[topic]--; s.topics[topic] > 0 {
		return
	}
	delete(s.topics, topic)
	s.add(u, Vacated, topic, "", 0, now, func(b []byte) []byte { return topicBody(b, Vacated, topic, "") })
}

func (s *Stream) published(u *union, o *channels.Observation, now int64) {
	head, who := "", uint64(0)
	if o.Socket != nil {
		c := s.clientOf(o.Socket)
		head, who = c.head, c.number
	}
	s.add(u, Published, o.Topic, o.Event, who, now, func(b []byte) []byte { return publishedBody(b, o, head) })
}

// PresenceJoined implements [presence.Observer].
func (s *Stream) PresenceJoined(topic, key, meta string) {
	ref, before := refsOf(meta)
	change := "join"
	if before != "" {
		change = "update"
	}
	s.presence(present{topic, key, meta}, change, func(p present) {
		delete(s.presences, before)
		s.presences[ref] = p
	})
}

// PresenceLeft implements [presence.Observer].
func (s *Stream) PresenceLeft(topic, key, meta string) {
	ref, _ := refsOf(meta)
	s.presence(present{topic, key, meta}, "leave", func(present) { delete(s.presences, ref) })
}

func (s *Stream) presence(p present, change string, note func(present)) {
	u := s.wanted.Load()
	if u == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if u.needs(Presence, p.topic, "") && s.options.Dir != "" {
		note(p)
	}
	s.add(u, Presence, p.topic, "", 0, s.now(), func(b []byte) []byte { return presenceBody(b, p, change) })
	s.flush()
}

// now returns the time in milliseconds. It never goes back. mu is held.
func (s *Stream) now() int64 {
	s.lastTime = max(s.lastTime, milliseconds(s.options.Now()))
	return s.lastTime
}

// add adds an event to those that flush appends, if somebody wants it. mu is held.
func (s *Stream) add(u *union, k Kind, topic, event string, who uint64, now int64, body func([]byte) []byte) {
	if !u.needs(k, topic, event) {
		return
	}
	start := len(s.body)
	s.body = body(s.body)
	s.pending = append(s.pending, outbox.Record{Time: now, Kind: uint8(k), Who: who, Topic: topic, Body: s.body[start:len(s.body):len(s.body)]})
}

// flush appends what add has added, in one write. mu is held.
func (s *Stream) flush() {
	if len(s.pending) == 0 {
		return
	}
	if s.missed > 0 {
		s.pending = append(s.pending, outbox.Record{})
		copy(s.pending[1:], s.pending)
		s.pending[0] = outbox.Record{
			Time: s.lastTime, Kind: uint8(Lost), Body: lostEvent{Count: s.missed, Reason: "they could not be stored"}.body(),
		}
	}
	s.records = s.records[:0]
	for i := range s.pending {
		s.records = append(s.records, &s.pending[i])
	}
	err := errFull
	if s.log.Size() <= s.options.Limit+s.options.Limit/excess {
		err = s.log.Append(s.records...)
	}
	if err != nil {
		s.noteMissed(err)
	} else {
		s.stored.Add(uint64(len(s.pending)))
		s.missed = 0
	}
	clear(s.pending)
	s.pending = s.pending[:0]
	if cap(s.body) > maxBody {
		s.body = nil
	}
	s.body = s.body[:0]
	s.keeper.wake(s.log.Size() > s.options.Limit)
}

// maxBody is how many bytes of memory are kept for encoding.
const maxBody = 64 << 10

var errFull = fmt.Errorf("events: the outbox is full, and nothing can be dropped yet")

// noteMissed counts what could not be stored. mu is held.
func (s *Stream) noteMissed(err error) {
	n := uint64(len(s.pending))
	if s.missed > 0 {
		n-- // the Lost event about earlier ones
	}
	s.missed += n
	s.missedAll.Add(n)
	s.options.Log.Error("events cannot be stored, and are lost").Err(err).Str("instance", s.options.Instance).Write()
}

// appendEvent appends an event of the stream's own.
func (s *Stream) appendEvent(k Kind, topic string, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending = append(s.pending, outbox.Record{Time: s.now(), Kind: uint8(k), Topic: topic, Body: body})
	s.flush()
}

// replaced ends a stream in memory whose instance is observed by another one. Its
// followers still read what it has.
func (s *Stream) replaced() {
	s.keeper.stop()
	close(s.over)
}

// close ends the stream. Its hooks must have ended.
func (s *Stream) close() error {
	s.keeper.stop()
	return errors.Join(s.log.Sync(), s.log.Close())
}
