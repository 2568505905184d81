package sim

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strconv"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/cluster/histories"
	"github.com/mycelium-rt/mycelium/history"
)

// archive is the real history of a node, and serves the readers that are connected to it as
// package channels does.
type archive struct {
	town    *town
	host    *Host
	life    *Life // nil until the node is started
	store   *history.Store
	kind    *histories.Kind
	space   *history.Space
	ready   bool          // it has its rules, and readers may join
	inside  bool          // of a call that must not be interrupted
	since   time.Duration // it was started
	drains  bool          // it stops, and takes no visitors
	readers []*reader
	lines   []*line
	last    map[topicLog]uint64 // the last message that clients were sent
	erased  map[history.ID]bool // here
}

// topicLog is a log, as far as one topic goes.
type topicLog struct {
	topic string
	log   history.LogID
}

var topics = []string{"a", "b", "c"}

func newArchive(t *town, h *Host, id cluster.LogID) *archive {
	a := &archive{town: t, host: h, last: map[topicLog]uint64{}, erased: map[history.ID]bool{}}
	a.store = history.NewStore(history.Options{
		Memory: t.memory, Log: history.LogID(id), Now: a.now, Pause: a.pause,
		AfterFunc: func(d time.Duration, f func()) func() { return a.life.AfterFunc(d, f) },
	})
	a.kind = histories.New(a.store)
	a.space = a.store.Open("space")
	if err := a.space.Share(); err != nil {
		t.fail("%v", err)
	}
	a.space.Attach(a)
	return a
}

// start gives the archive its node.
func (a *archive) start(l *Life) {
	a.life, a.since = l, a.town.Now()
	a.kind.Start(l.Node)
}

// now is the time by the node's own clock.
func (a *archive) now() time.Time {
	now := a.town.Now()
	if a.life != nil {
		now = a.life.Now()
	}
	return time.Unix(1_700_000_000, int64(now))
}

// open gives the history its rules.
func (a *archive) open() {
	if err := a.space.SetRules([]history.Rule{a.town.rule}); err != nil {
		a.town.fail("%v", err)
	}
	a.ready = true
	if len(a.town.visitors) > 0 {
		a.beat()
	}
}

// pause does something in the middle of a call of the history, as another goroutine may.
func (a *archive) pause() {
	if a.inside || !a.ready || a.town.settles() || a.town.Rand.IntN(32) > 0 {
		return
	}
	a.inside = true
	a.town.read(a)
	a.inside = false
}

// say records a message of a client, or of nobody: 0.
func (a *archive) say(topic string, sender uint64, size int) {
	m := history.Message{Event: "said", Sender: sender}
	a.town.said++
	m.Payload = append(strconv.AppendInt(nil, int64(a.town.said), 10), make([]byte, size)...)
	a.space.Record(topic, &m, func(recorded bool) {
		if recorded {
			a.town.chronicle.add(topic, &m)
			a.deliver(topic, &m)
		}
	})
}

// Receive implements history.Receiver.
func (a *archive) Receive(topic string, m *history.Message, recorded bool) {
	if !recorded {
		a.town.fail("%s does not record message %v of %s", a.host.Name, m.ID(), topic)
	}
	a.deliver(topic, m)
}

// deliver sends a message to the readers of a topic.
func (a *archive) deliver(topic string, m *history.Message) {
	at := topicLog{topic, m.Log}
	if m.Number <= a.last[at] {
		a.town.fail("%s sends its clients message %v of %s after message %d", a.host.Name, m.ID(), topic, a.last[at])
	}
	a.last[at] = m.Number
	a.town.Note("%s sends its clients message %v of %s", a.host.Name, m.ID(), topic)
	a.town.chronicle.checkText(topic, m)
	for _, r := range a.readers {
		if r.topic == topic && !r.catchingUp && m.Sender != r.id {
			r.send(letter{id: m.ID()})
		}
	}
	for _, l := range a.lines {
		l.deliver(topic, m)
	}
}

// passed returns the last messages of a topic that clients were sent.
func (a *archive) passed(topic string) map[history.LogID]uint64 {
	numbers := map[history.LogID]uint64{}
	for at, number := range a.last {
		if at.topic == topic {
			numbers[at.log] = number
		}
	}
	return numbers
}

// Mark implements history.Receiver.
func (a *archive) Mark(topic string, p history.Position) {
	for _, r := range a.readers {
		if r.topic == topic && !r.catchingUp {
			r.send(letter{mark: p.String()})
		}
	}
}

// Lost implements history.Receiver.
func (a *archive) Lost(topics []string, why history.Reason) {
	for _, r := range a.readers {
		if !r.catchingUp && (topics == nil || slices.Contains(topics, r.topic)) {
			r.send(letter{state: true, missing: why})
		}
	}
	for _, l := range a.lines {
		for _, r := range l.rooms {
			if !r.catchingUp && (topics == nil || slices.Contains(topics, r.topic)) {
				r.heard = true
				l.v.told(l, r.topic, why)
			}
		}
	}
}

// refresh sends the readers new marks, as an endpoint does now and then.
func (a *archive) refresh() {
	for _, r := range slices.Clone(a.readers) {
		a.space.Read(r.topic, history.Ask{Last: -1}, func(p history.Page) {
			if r.at == a && !r.catchingUp {
				r.send(letter{mark: p.Next.String()})
			}
		})
	}
}

// erase erases messages of a topic. From then on no node may have them in the end.
func (a *archive) erase(topic string) {
	a.inside = true
	defer func() { a.inside = false }()
	all := a.space.Page(topic, history.Ask{})
	if len(all.Messages) == 0 {
		return
	}
	a.town.erasures++
	one := all.Messages[a.town.Rand.IntN(len(all.Messages))]
	upTo := parsePosition(all.Next)
	var erased func(s *said) bool
	switch a.town.Rand.IntN(3) {
	case 0:
		erased = func(s *said) bool { return s.ID() == one.ID() }
		a.space.Erase(topic, one.ID())
	case 1:
		erased = func(s *said) bool { return s.Number <= upTo[s.Log] && s.Time.UnixMilli() < one.Time.UnixMilli() }
		a.space.TrimBefore(topic, one.Time)
	default:
		erased = func(s *said) bool { return s.Number <= upTo[s.Log] }
		a.space.Delete(topic)
	}
	by := history.ID{Log: history.LogID(a.life.Node.ID())}
	by.Number = a.position()[by.Log]
	a.town.chronicle.pad(by.Log, by.Number)
	for _, log := range a.town.chronicle {
		for i := range log {
			if s := &log[i]; s.topic == topic && erased(s) {
				s.erased, a.erased[s.ID()] = append(s.erased, by), true
			}
		}
	}
	a.checkErased(func(id history.ID) bool { return a.erased[id] })
}

// checkErased looks for messages that were erased.
func (a *archive) checkErased(erased func(id history.ID) bool) {
	for _, topic := range topics {
		for _, m := range a.space.Page(topic, history.Ask{}).Messages {
			if erased(m.ID()) {
				a.town.fail("%s has message %v of %s, which was erased", a.host.Name, m.ID(), topic)
			}
		}
	}
}

// position returns the numbers of the node's position.
func (a *archive) position() map[history.LogID]uint64 {
	return parsePosition(a.space.Page(topics[0], history.Ask{Last: -1}).Next)
}

// parsePosition reads a position independently of package history.
func parsePosition(p history.Position) map[history.LogID]uint64 {
	b, err := base64.RawURLEncoding.DecodeString(p.String())
	if err != nil {
		panic(err)
	}
	numbers := map[history.LogID]uint64{}
	_, n := binary.Uvarint(b[1:])
	for b = b[1+n:]; len(b) > 0; {
		number, n := binary.Uvarint(b[8:])
		if number > 0 {
			numbers[history.LogID(binary.BigEndian.Uint64(b))] = number
		}
		b = b[8+n:]
	}
	return numbers
}

// makePosition makes a position independently of package history.
func makePosition(at time.Time, numbers map[history.LogID]uint64) history.Position {
	b := binary.AppendUvarint([]byte{1}, uint64(at.Unix()))
	for log, number := range numbers {
		b = binary.AppendUvarint(binary.BigEndian.AppendUint64(b, uint64(log)), number)
	}
	p, err := history.ParsePosition(base64.RawURLEncoding.EncodeToString(b))
	if err != nil {
		panic(err)
	}
	return p
}

// enter connects a reader, which wants marks.
func (a *archive) enter(r *reader) {
	a.readers = append(a.readers, r)
	a.space.Follow(1)
}

// leave disconnects a reader.
func (a *archive) leave(r *reader) {
	a.space.Follow(-1)
	a.readers = slices.DeleteFunc(a.readers, func(o *reader) bool { return o == r })
}

// chronicle has all messages that were ever recorded, by log and number.
type chronicle map[history.LogID][]said

// said is a recorded message.
type said struct {
	history.Message
	topic  string       // "" for an erasure, which has a number too
	erased []history.ID // by which erasures
}

func (c chronicle) add(topic string, m *history.Message) {
	if m.Number <= uint64(len(c[m.Log])) {
		panic("a number of a log twice")
	}
	c.pad(m.Log, m.Number-1)
	c[m.Log] = append(c[m.Log], said{Message: *m, topic: topic})
}

// pad notes that a log has erasures up to a number: its node's own, and those that it has adopted.
func (c chronicle) pad(log history.LogID, number uint64) {
	for uint64(len(c[log])) < number {
		c[log] = append(c[log], said{})
	}
}

// of returns a message.
func (c chronicle) of(id history.ID) *said {
	c.pad(id.Log, id.Number)
	return &c[id.Log][id.Number-1]
}

// heads returns the number of the last message of each log.
func (c chronicle) heads() map[history.LogID]uint64 {
	heads := make(map[history.LogID]uint64, len(c))
	for log, all := range c {
		heads[log] = uint64(len(all))
	}
	return heads
}

// checkText checks that a message is what it was.
func (c chronicle) checkText(topic string, m *history.Message) {
	if s := c.of(m.ID()); string(s.Payload) != string(m.Payload) || s.topic != topic || s.Event != m.Event {
		panic("a message has changed")
	}
}
