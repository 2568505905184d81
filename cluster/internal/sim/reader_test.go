package sim

import (
	"maps"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/history"
)

// reader is a client that follows a topic. It keeps the last mark that it was sent, is cut
// off now and then, and joins again, often at another node.
type reader struct {
	town  *town
	id    uint64
	topic string

	// The node's side of the connection.
	at         *archive // nil: it is not connected
	joins      int
	catchingUp bool
	ask        history.Ask
	until      time.Duration // how long the answer waits for the node to be as far as the reader; 0: it does not wait
	told       bool          // the state was sent

	way    []letter // what was sent and has not arrived
	moving bool     // arrive will be called

	// The reader's side.
	mark      string           // the last one
	asked     history.Position // that it joined with
	fresh     bool             // the next mark promises nothing about what came before
	recovered bool             // it was told so, in this connection
	got       map[history.ID]struct{}
	promised  map[history.LogID]uint64 // marks say that it has everything up to these
	last      map[history.LogID]uint64 // what arrived in this connection
}

// letter is what a node sends a reader: a message, a mark, or a state.
type letter struct {
	id      history.ID
	mark    string
	passed  map[history.LogID]uint64 // with the first mark: what the node had sent before
	state   bool
	missing history.Reason
}

// How channels waits for messages that a client has and its node has not.
const (
	behindWait  = 2 * time.Second
	behindPause = 50 * time.Millisecond
)

func (t *town) newReader() *reader {
	return &reader{
		town: t, id: uint64(len(t.readers) + 1), topic: topics[t.Rand.IntN(len(topics))],
		got: map[history.ID]struct{}{}, promised: map[history.LogID]uint64{},
	}
}

// join connects the reader to a node. It asks for what it missed or, if it has no mark, for
// the last messages, some of them, or none.
func (r *reader) join(a *archive) {
	r.cut()
	r.joins++
	r.at, r.catchingUp, r.until, r.told = a, true, 0, false
	r.asked, r.recovered, r.last = history.Position{}, false, map[history.LogID]uint64{}
	r.ask = history.Ask{Without: r.id, PageMessages: 1 + r.town.Rand.IntN(30)}
	if r.town.settles() {
		r.ask.PageMessages += 20
	}
	switch {
	case r.mark != "" && (r.town.settles() || r.town.Rand.IntN(20) > 0):
		r.asked, _ = history.ParsePosition(r.mark)
		r.ask.After = r.asked
		if r.town.Rand.IntN(20) == 0 {
			r.ask.Limit = 5
		}
	case r.town.Rand.IntN(2) == 0:
		r.ask.Last = -1
	case r.town.Rand.IntN(2) == 0: //nolint:gocritic // it is asked anew
		r.ask.Last = 1 + r.town.Rand.IntN(10)
	default:
		r.ask.Since = a.now().Add(-r.town.upTo(30 * time.Second))
	}
	r.fresh = r.ask.After.IsZero()
	a.enter(r)
	r.town.Note("reader %d of %s joins at %s with %v", r.id, r.topic, a.host.Name, r.ask)
	r.read()
}

// read reads the next page of what the reader missed, and sends it. Both happen at once: in
// a program, a message that is recorded in between is sent behind the page.
func (r *reader) read() {
	a, joins := r.at, r.joins
	a.space.Read(r.topic, r.ask, func(p history.Page) {
		if r.at != a || r.joins != joins {
			return // it was cut off meanwhile
		}
		again := func(after time.Duration) {
			a.life.AfterFunc(after, func() {
				if r.at == a && r.joins == joins {
					r.read()
				}
			})
		}
		if p.Wait && (r.until == 0 || r.town.Now() < r.until) {
			if r.until == 0 {
				r.until = r.town.Now() + behindWait
			}
			again(behindPause)
			return
		}
		if !r.told || p.Missing != "" {
			r.told = true
			r.send(letter{state: true, missing: p.Missing})
		}
		for i := range p.Messages {
			r.send(letter{id: p.Messages[i].ID()})
		}
		if p.More {
			r.ask = history.Ask{After: p.Next, Without: r.ask.Without, PageMessages: r.ask.PageMessages}
			again(r.town.upTo(100 * time.Millisecond))
			return
		}
		r.catchingUp = false
		r.send(letter{mark: p.Next.String(), passed: a.passed(r.topic)})
	})
}

// cut ends the connection. Nothing that is on its way arrives.
func (r *reader) cut() {
	if r.at != nil {
		r.at.leave(r)
	}
	r.at, r.way = nil, nil
}

// send puts a letter on its way.
func (r *reader) send(l letter) {
	r.way = append(r.way, l)
	if !r.moving {
		r.moving = true
		r.town.After(r.town.upTo(100*time.Millisecond), r.arrive)
	}
}

// arrive gives the reader all or some of what is on its way.
func (r *reader) arrive() {
	r.moving = false
	n := len(r.way)
	if n > 1 && !r.town.settles() {
		n = 1 + r.town.Rand.IntN(n)
	}
	for _, l := range r.way[:n] {
		r.receive(l)
	}
	if r.way = r.way[n:]; len(r.way) > 0 {
		r.moving = true
		r.town.After(r.town.upTo(100*time.Millisecond), r.arrive)
	}
}

func (r *reader) receive(l letter) {
	switch {
	case l.mark != "":
		r.receiveMark(&l)
	case l.state:
		r.recovered = l.missing == ""
		r.fresh = !r.recovered || r.asked.IsZero()
		r.town.states[l.missing]++
		r.town.Note("reader %d is told %q", r.id, l.missing)
	default:
		r.receiveMessage(l.id)
	}
}

// receiveMessage checks that a message is not out of order, and comes again only if the
// reader's mark did not include it.
func (r *reader) receiveMessage(id history.ID) {
	s := r.town.chronicle.of(id)
	if s.topic != r.topic || s.Sender == r.id {
		r.town.fail("reader %d of %s gets message %v of %s by %d", r.id, r.topic, id, s.topic, s.Sender)
	}
	if id.Number <= r.last[id.Log] {
		r.town.fail("reader %d gets message %v after message %d", r.id, id, r.last[id.Log])
	}
	r.last[id.Log] = id.Number
	if _, again := r.got[id]; again && r.recovered && id.Number <= parsePosition(r.asked)[id.Log] {
		r.town.fail("reader %d gets message %v again, which its mark includes", r.id, id)
	}
	r.got[id] = struct{}{}
	r.town.delivered++
}

// receiveMark checks that the reader has everything that a mark includes.
func (r *reader) receiveMark(l *letter) {
	r.mark = l.mark
	p, err := history.ParsePosition(l.mark)
	if err != nil {
		r.town.fail("%v", err)
		return
	}
	numbers := parsePosition(p)
	if r.fresh {
		r.fresh, r.promised = false, numbers
		for log, number := range l.passed { // what it was not sent because it came later
			r.promised[log] = max(r.promised[log], number)
		}
		return
	}
	for _, log := range slices.Sorted(maps.Keys(numbers)) {
		number := numbers[log]
		for n := r.promised[log] + 1; n <= number; n++ {
			r.checkHas(history.ID{Log: log, Number: n})
		}
		r.promised[log] = max(r.promised[log], number)
	}
}

func (r *reader) checkHas(id history.ID) {
	s := r.town.chronicle.of(id)
	if s.topic != r.topic || s.Sender == r.id || s.erased != nil {
		return
	}
	if _, ok := r.got[id]; !ok {
		r.town.fail("reader %d at %s has a mark that includes message %v of %s, which it never got", r.id, r.where(), id, r.topic)
	}
}

func (r *reader) where() string {
	if r.at == nil {
		return "no node"
	}
	return r.at.host.Name
}
