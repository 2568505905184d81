package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/history"
)

// visitor is a client with a session, and knows no positions. It follows topics, is cut
// off, and comes back, often to another node. Its methods are the client's side.
type visitor struct {
	town   *town
	id     int
	name   string // of its session
	sender uint64
	polls  bool // by long polling

	line    *line // nil: it has no connection, as far as it knows
	follows map[string]*follow
	slept   []func()      // what has arrived since its page was suspended
	asleep  bool          // the page is suspended
	joined  time.Duration // when it last sent a join
	gone    bool          // it does not come back
}

// follow is what a visitor has of a topic that it has joined and not left.
type follow struct {
	got  map[history.ID]struct{}
	owed map[history.LogID]uint64 // it must get what is above; nil: no node knows that it has joined
	home *line                    // where it last joined
	last map[history.LogID]uint64 // what arrived since it last joined
}

func (t *town) newVisitor() *visitor {
	v := &visitor{town: t, id: len(t.visitors) + 1, follows: map[string]*follow{}, polls: t.Rand.IntN(3) == 0}
	v.name = fmt.Sprint("the session of visitor ", v.id)
	v.sender = history.NewStore(history.Options{}).Open("space").SessionKey("", v.name).Sender()
	v.follow(topics[t.Rand.IntN(len(topics))])
	return v
}

func (v *visitor) follow(topic string) {
	v.follows[topic] = &follow{got: map[history.ID]struct{}{}, last: map[history.LogID]uint64{}}
}

// connect has the visitor connect to a node, and join its topics.
func (v *visitor) connect(a *archive) {
	v.town.Note("visitor %d connects to %s", v.id, a.host.Name)
	l := a.accept(v)
	v.line = l
	for _, topic := range slices.Sorted(maps.Keys(v.follows)) {
		v.join(topic)
	}
	if v.polls {
		l.in.send(l.poll)
	}
}

func (v *visitor) join(topic string) {
	l := v.line
	v.joined = v.town.Now()
	f := v.follows[topic]
	v.say(func() { l.join(topic, f) })
}

// replied handles the reply to a join. What comes next may be older than what came before.
func (v *visitor) replied(l *line, topic string) {
	v.awake(func() {
		if f := v.follows[topic]; v.line == l && f != nil {
			f.last = map[history.LogID]uint64{}
		}
	})
}

// say sends the node a message.
func (v *visitor) say(f func()) {
	l := v.line
	l.in.send(func() { l.handle(f) })
}

func (v *visitor) leave(topic string) {
	l := v.line
	delete(v.follows, topic)
	v.say(func() { l.leave(topic, false) })
}

// rejoin has a channel end at the node, and joins again.
func (v *visitor) rejoin(topic string) {
	l := v.line
	v.say(func() { l.leave(topic, true) })
	v.join(topic)
}

// cut cuts the connection. Some of what the client has sent may still arrive.
func (v *visitor) cut() {
	l := v.line
	v.lose(l)
	l.out.kill()
	if v.town.Rand.IntN(2) == 0 {
		l.in.kill()
	}
	l.a.life.AfterFunc(wireDelay+v.town.upTo(wireDelay), l.close)
}

// goSilent has a connection carry nothing any more, in one direction or both. The client
// notices after a while, and the node much later.
func (v *visitor) goSilent() {
	l, n := v.line, v.town.Rand.IntN(3)
	v.town.Note("the connection of visitor %d at %s goes silent", v.id, l.a.host.Name)
	if n != 0 {
		l.in.kill()
	}
	if n != 1 {
		l.out.kill()
	}
	v.town.After(v.town.upTo(3*time.Second), func() {
		v.lose(l)
		l.in.kill()
		l.out.kill()
	})
	l.a.life.AfterFunc(3*time.Second+v.town.upTo(20*time.Second), l.close)
}

// sleep suspends the page: pings are answered, and nothing else is handled. When it
// wakes up, the browser has dropped the connection, or kept everything.
func (v *visitor) sleep(d time.Duration) {
	v.town.Note("visitor %d is suspended for %v", v.id, d)
	v.asleep = true
	v.town.After(d, func() {
		v.asleep = false
		late := v.slept
		v.slept = nil
		if v.line != nil && v.town.Rand.IntN(2) == 0 {
			v.cut()
		}
		for _, f := range late {
			f()
		}
	})
}

// awake calls f now, or when the page is no longer suspended.
func (v *visitor) awake(f func()) {
	if v.asleep {
		v.slept = append(v.slept, f)
	} else {
		f()
	}
}

// lose notes that a connection is gone.
func (v *visitor) lose(l *line) {
	v.awake(func() {
		if v.line == l {
			v.town.Note("visitor %d is cut off", v.id)
			v.line = nil
		}
	})
}

// ping answers a ping. A browser does that even while the page is suspended.
func (v *visitor) ping(l *line, number uint32, swift bool) {
	l.in.send(func() { l.answered(number, swift) })
}

// answered handles the answer to a poll, and polls again.
func (v *visitor) answered(l *line, messages []func()) {
	v.awake(func() {
		if v.line == l {
			for _, f := range messages {
				f()
			}
			l.in.send(l.poll)
		}
	})
}

// receive checks that a message is not the visitor's own, nor out of order.
func (v *visitor) receive(l *line, topic string, id history.ID) {
	v.awake(func() {
		f := v.follows[topic]
		if v.line != l || f == nil {
			return
		}
		s := v.town.chronicle.of(id)
		if s.topic != topic || s.Sender == v.sender {
			v.town.fail("visitor %d of %s gets message %v of %s by %d", v.id, topic, id, s.topic, s.Sender)
		}
		if id.Number <= f.last[id.Log] {
			v.town.fail("visitor %d gets message %v of %s after message %d", v.id, id, topic, f.last[id.Log])
		}
		f.last[id.Log] = id.Number
		if _, again := f.got[id]; again {
			v.town.again++
			if v.town.calm && v.town.memory == 0 {
				v.town.fail("visitor %d gets message %v of %s again, although it has acknowledged it", v.id, id, topic)
			}
		}
		f.got[id] = struct{}{}
		v.town.delivered++
	})
}

// begins notes where a replay begins, and checks that the visitor has what is before.
func (v *visitor) begins(l *line, r *room, after history.Position, known bool) {
	f, topic := r.of, r.topic
	if v.line != l || f != v.follows[topic] {
		return // it is gone or has left, which its node does not know
	}
	v.town.Note("visitor %d joins %s at %s: known: %t, %v of %v", v.id, topic, l.a.host.Name, known, parsePosition(after), parsePosition(r.now))
	switch {
	case f.owed == nil:
		f.owed = v.town.chronicle.heads()
	case !v.town.mustKnow(f.home, l):
		v.town.lostSessions++
		f.owed = v.town.chronicle.heads()
	case known:
		v.town.kept++
		v.checkHas(l, topic, parsePosition(after))
	default:
		v.town.fail("%s does not know that visitor %d has joined %s", l.a.host.Name, v.id, topic)
	}
	f.home = l
}

// mustKnow reports whether a node must know what a visitor has: the visitor was there
// before, or the network was good since it came to the node where it was.
func (t *town) mustKnow(h, l *line) bool {
	switch {
	case t.memory > 0: // little memory for sessions
		return false
	case h == l || h.a == l.a:
		return true
	}
	since := h.since - 3*time.Second
	if l.a.since > since && (!t.connected || !t.hasWitness(since, l.a.host)) {
		return false
	}
	if t.connected {
		return true
	}
	for _, a := range t.Hosts {
		for _, b := range t.Hosts {
			if a != b && t.Calm(a, b) < t.Now()-since {
				return false
			}
		}
	}
	return true
}

// checkHas checks that the visitor has everything up to a position.
func (v *visitor) checkHas(l *line, topic string, upTo map[history.LogID]uint64) {
	f := v.follows[topic]
	for _, log := range slices.Sorted(maps.Keys(upTo)) {
		for n := f.owed[log] + 1; n <= upTo[log]; n++ {
			id := history.ID{Log: log, Number: n}
			s := v.town.chronicle.of(id)
			if s.topic != topic || s.Sender == v.sender || s.erased != nil {
				continue
			}
			if _, ok := f.got[id]; !ok {
				v.town.fail("visitor %d comes back to %s, which takes it to have message %v of %s, which it never got", v.id, l.a.host.Name, id, topic)
			}
		}
		f.owed[log] = max(f.owed[log], upTo[log])
	}
}

// hasWitness reports whether there is a node that has run for a while, and that the others
// have heard of: a node that resumes in this moment has yet to send a heartbeat to one that
// was started meanwhile.
func (t *town) hasWitness(since time.Duration, to *Host) bool {
	return slices.ContainsFunc(t.awake(), func(r *resident) bool {
		return r.archive.since <= since && t.Calm(r.archive.host, to) > 2*time.Second
	})
}

// told notes that messages are missing. Of those that there are so far the visitor is not
// owed any more.
func (v *visitor) told(l *line, topic string, why history.Reason) {
	if f := v.follows[topic]; v.line == l && f != nil && f.owed != nil {
		v.town.Note("visitor %d is told that messages of %s are missing: %s", v.id, topic, why)
		f.owed = v.town.chronicle.heads()
	}
}
