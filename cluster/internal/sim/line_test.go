package sim

import (
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/history"
)

// line is a connection of a visitor. Its methods are the node's side: they do with the
// session of the connection what package channels does (Socket, catchUp and pollSession).
type line struct {
	town    *town
	a       *archive
	v       *visitor
	session *history.Session
	since   time.Duration
	in, out wire

	open    bool
	busy    bool // in a call that its loop cannot be interrupted in
	rooms   []*room
	answer  uint32 // a probe that was answered, and no message of the client has followed; 0: none
	doubted bool
	polled  *polled // nil: it is a WebSocket
}

// room is a topic that a visitor has joined.
type room struct {
	topic      string
	of         *follow
	now        history.Position
	joined     time.Duration
	ask        history.Ask
	visits     bool          // the session has yet to say where the replay begins
	until      time.Duration // how long to wait for this node to be as far as the client; 0: not waiting
	catchingUp bool
	heard      bool
}

// How package channels waits for the node where a session was before, and how often it has
// clients acknowledge. That is more often here, so that it happens in a seed.
const (
	visitPause  = 10 * time.Millisecond
	swiftWithin = 2 * time.Second
	beatEvery   = time.Second
)

// accept connects a visitor to the node.
func (a *archive) accept(v *visitor) *line {
	l := &line{town: a.town, a: a, v: v, open: true, since: a.town.Now(), session: a.space.NewSession("", v.name)}
	l.in.town, l.out.town = a.town, a.town
	if v.polls {
		l.polled = new(polled)
	}
	a.lines = append(a.lines, l)
	a.sessions().Connect(l.session, l)
	return l
}

func (a *archive) sessions() *history.Sessions { return a.store.Sessions() }

// beat has the clients acknowledge what was recorded by now.
func (a *archive) beat() {
	to := a.space.Passed()
	a.soon(func() {
		for _, l := range slices.Clone(a.lines) {
			l.advance(&to, false)
		}
	})
	a.life.AfterFunc(beatEvery, a.beat)
}

// soon calls f when the loops have time.
func (a *archive) soon(f func()) { a.life.AfterFunc(a.town.upTo(5*time.Millisecond), f) }

// hurry has another loop of the node handle what a client has sent.
func (a *archive) hurry() {
	for _, l := range a.lines {
		if !l.busy && len(l.in.way) > 0 {
			f := l.in.way[0]
			l.in.way = l.in.way[1:]
			f()
			return
		}
	}
}

// GiveUp implements history.SessionConn.
func (l *line) GiveUp() { l.a.soon(l.giveUp) }

// giveUp leaves the session to another connection, and ends this one unless its client is
// there.
func (l *line) giveUp() {
	if !l.open {
		return
	}
	l.town.Note("the connection of visitor %d at %s gives up its session", l.v.id, l.a.host.Name)
	l.a.sessions().Lend(l.session, l.topics())
	l.doubted = l.polled == nil
	l.probe(0, false)
	l.a.life.AfterFunc(beatEvery, func() {
		if l.doubted {
			l.hangUp()
		}
	})
}

func (l *line) topics() (topics []string) {
	for _, r := range l.rooms {
		topics = append(topics, r.topic)
	}
	return topics
}

func (l *line) room(topic string) *room {
	if i := slices.IndexFunc(l.rooms, func(r *room) bool { return r.topic == topic }); i >= 0 {
		return l.rooms[i]
	}
	return nil
}

// handle handles a message of the client.
func (l *line) handle(f func()) {
	l.a.life.do(func() {
		if !l.open {
			return
		}
		if number := l.answer; number != 0 {
			l.answer = 0
			l.town.Note("visitor %d confirms %d at %s", l.v.id, number, l.a.host.Name)
			l.a.sessions().Confirm(l.session, number)
		}
		f()
	})
}

// join has the client join a topic.
func (l *line) join(topic string, f *follow) {
	if l.room(topic) != nil {
		return
	}
	r := &room{topic: topic, of: f, joined: l.town.Now(), visits: true, catchingUp: true}
	r.ask = history.Ask{Without: l.v.sender, PageMessages: 1 + l.town.Rand.IntN(30)}
	if l.town.settles() {
		r.ask.PageMessages += 20
	}
	l.rooms = append(l.rooms, r)
	l.push(func() { l.v.replied(l, topic) })
	l.busy = true
	r.now = l.a.space.Page(topic, history.Ask{Last: -1}).Next
	l.busy = false
	l.a.sessions().Join(l.session, topic, r.now)
	l.read(r)
}

// readIn reads the next page of a replay after d.
func (l *line) readIn(r *room, d time.Duration) { l.a.life.AfterFunc(d, func() { l.read(r) }) }

// read reads the next page of a replay, and sends it.
func (l *line) read(r *room) {
	if !l.open || l.room(r.topic) != r || r.visits && !l.begin(r) {
		return
	}
	l.busy = true
	p := l.a.space.Page(r.topic, r.ask)
	l.busy = false
	l.replay(r, &p)
}

// begin has a replay begin where the session says. It returns false if that is not known yet.
func (l *line) begin(r *room) bool {
	all := l.a.sessions()
	after, known, wait := all.After(l.session, r.topic, r.now)
	if wait {
		l.readIn(r, visitPause)
		return false
	}
	r.ask.After, r.visits = after, false
	l.v.begins(l, r, after, known)
	return true
}

func (l *line) replay(r *room, p *history.Page) {
	if p.Wait {
		if r.until == 0 {
			r.until = l.town.Now() + behindWait
		}
		if l.town.Now() < r.until {
			l.readIn(r, behindPause)
			return
		}
	}
	if p.Missing != "" {
		r.heard = true
		l.v.told(l, r.topic, p.Missing)
	}
	for i := range p.Messages {
		l.sendMessage(r, p.Messages[i].ID())
	}
	if p.More {
		r.ask = history.Ask{After: p.Next, Without: r.ask.Without, PageMessages: r.ask.PageMessages}
		l.readIn(r, l.town.upTo(wireDelay))
		return
	}
	r.catchingUp = false
	l.a.sessions().CaughtUp(l.session, r.topic)
	if r.heard {
		to, swift := l.a.space.Passed(), l.town.Now()-r.joined < swiftWithin
		l.a.soon(func() { l.advance(&to, swift) })
	}
}

// deliver sends the client a message that was just recorded.
func (l *line) deliver(topic string, m *history.Message) {
	if r := l.room(topic); r != nil && !r.catchingUp && m.Sender != l.v.sender {
		l.sendMessage(r, m.ID())
	}
}

func (l *line) sendMessage(r *room, id history.ID) {
	r.heard = true
	l.push(func() { l.v.receive(l, r.topic, id) })
}

// leave has the client leave a topic, or the channel end without that.
func (l *line) leave(topic string, lose bool) {
	if l.room(topic) == nil {
		return
	}
	l.rooms = slices.DeleteFunc(l.rooms, func(r *room) bool { return r.topic == topic })
	if lose {
		l.a.sessions().Lose(l.session, topic)
	} else {
		l.a.sessions().Leave(l.session, topic)
	}
}

// advance moves the session to a position that was delivered before.
func (l *line) advance(to *history.Position, swift bool) {
	if !l.open {
		return
	}
	heard := slices.ContainsFunc(l.rooms, func(r *room) bool { return r.heard })
	number, fresh := l.a.sessions().Advance(l.session, to, heard)
	if number == 0 || !fresh && (swift || l.answer != 0) {
		return
	}
	for _, r := range l.rooms {
		r.heard = r.heard && !fresh
	}
	l.probe(number, swift)
}

// answered notes that a ping was answered.
func (l *line) answered(number uint32, swift bool) {
	l.a.life.do(func() {
		switch {
		case !l.open:
		case number == 0:
			l.doubted = false
		case swift:
			l.a.sessions().Confirm(l.session, number)
		case l.answer == 0:
			l.answer = number
		}
	})
}

// hangUp ends the connection, which the client learns.
func (l *line) hangUp() {
	if l.open {
		if l.polled != nil {
			l.flush()
		}
		l.close()
		l.out.send(func() { l.v.lose(l) })
	}
}

// close ends the connection.
func (l *line) close() {
	if !l.open {
		return
	}
	l.a.sessions().End(l.session, l.topics())
	l.end()
}

// end ends the connection together with its node, if that is killed.
func (l *line) end() {
	l.open, l.doubted, l.rooms = false, false, nil
	l.a.lines = slices.DeleteFunc(l.a.lines, func(o *line) bool { return o == l })
}

// polled is what a connection by long polling has to send.
type polled struct {
	queue   []func()
	writing int  // of the queue, an answer on its way
	waiting bool // a poll waits
	number  uint32
	behind  int // the probe counts when so many have been taken, and the client polls again
	queued  int
	taken   int
}

// push sends the client something.
func (l *line) push(f func()) {
	p := l.polled
	if p == nil {
		l.out.send(f)
		return
	}
	p.queue = append(p.queue, f)
	p.queued++
	l.a.soon(l.flush)
}

// poll has the client poll, which it does when it has handled the last answer.
func (l *line) poll() {
	l.a.life.do(func() {
		if l.open {
			l.polled.waiting = true
			l.confirmPoll()
			l.flush()
		}
	})
}

// flush answers the poll that waits.
func (l *line) flush() {
	p := l.polled
	if !l.open || !p.waiting || p.writing > 0 || len(p.queue) == 0 {
		return
	}
	p.waiting, p.writing = false, 1+l.town.Rand.IntN(len(p.queue))
	answer := slices.Clone(p.queue[:p.writing])
	l.out.send(func() { l.v.answered(l, answer) })
	l.a.life.AfterFunc(l.town.upTo(wireDelay), l.settle)
}

// settle notes that an answer was written, or that it was not.
func (l *line) settle() {
	p := l.polled
	if written := l.town.Rand.IntN(8) > 0 || !l.out.dead; written {
		p.queue = p.queue[p.writing:]
		p.taken += p.writing
	}
	p.writing = 0
	if l.open {
		l.confirmPoll()
		l.flush()
	}
}

// probe sends a probe.
func (l *line) probe(number uint32, swift bool) {
	p := l.polled
	switch {
	case p == nil:
		l.out.send(func() { l.v.ping(l, number, swift) })
	case number != 0:
		if p.number != number {
			p.number, p.behind = number, p.queued
		}
		l.confirmPoll()
	}
}

// confirmPoll answers a probe if the client has shown that it has what was before it.
func (l *line) confirmPoll() {
	if p := l.polled; p.number != 0 && p.waiting && p.writing == 0 && p.taken >= p.behind {
		number := p.number
		p.number = 0
		l.a.sessions().Confirm(l.session, number)
	}
}
