package channels

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// A client that connects with the parameter "session" need not know positions: the
// server keeps what the client has acknowledged of each topic (history.Sessions), and
// after a break each join of such a topic is a catch-up from there.
//
// An acknowledgement costs the client no code. Every pulseEvery, the endpoint reads a
// position that has been delivered (history.Space.Passed) and posts a task to each loop,
// behind all deliveries. The task sends a probe to each client that was sent recorded
// messages since the last one: by WebSocket a ping, whose pong a client sends after it has
// received what came before; in long polling, the second poll after the answer. A message
// costs no more than a bit in its channel.

// sessionParam is the parameter of a connect with the client's name of its session.
const sessionParam = admission.SessionParam

// The length of a session in bytes. Who knows another client's session, and has the same
// identity or none, can take its place, so it must not be guessed.
const (
	minSession = 16
	maxSession = 128
)

// nameSession gives the socket the session that its request names, if the endpoint
// records anything. It refuses a name that cannot be used.
func (s *Socket) nameSession(r *Request) *admission.Refusal {
	h := s.endpoint.history
	value, named := r.Params[sessionParam]
	if !named || h == nil || len(h.Rules()) == 0 {
		return nil
	}
	name, isText := value.(string)
	if !isText || len(name) < minSession || len(name) > maxSession {
		text := fmt.Sprintf("the parameter %q must have %d to %d characters, for example a random UUID", sessionParam, minSession, maxSession)
		s.endpoint.gate.Refusals.Denied.Add(1)
		s.endpoint.log.Warn("session refused").Str("reason", text).Str("path", r.URL.Path).Write()
		return admission.TextRefusal(http.StatusBadRequest, text)
	}
	s.session = h.NewSession(s.owner(), name)
	return nil
}

// owner returns who the client is, as far as the server knows: only the same may take a
// session.
func (s *Socket) owner() string {
	if g, ok := s.Guard().(ClientGuard); ok {
		if name := g.Client(); name != "" {
			return "user " + name
		}
	}
	if id := s.ID(); id != "" {
		return "id " + id
	}
	return ""
}

// sessionStore returns the sessions of an endpoint with a history.
func (e *Endpoint) sessionStore() *history.Sessions { return e.history.Sessions() }

// sessionConn is a Socket as the connection of its session.
type sessionConn Socket

// GiveUp implements history.SessionConn.
func (c *sessionConn) GiveUp() {
	s := (*Socket)(c)
	s.loop.Post(netloop.TaskFunc(s.giveUpSession))
}

// connectSession connects the session of a socket that has just been opened.
func (s *Socket) connectSession() {
	if one := s.session; one != nil {
		s.endpoint.sessionStore().Connect(one, (*sessionConn)(s))
		s.endpoint.pulse.count(s.endpoint, 1)
	}
}

// disconnectSession ends the session of a socket that is being closed. Its channels have not
// ended yet.
func (s *Socket) disconnectSession() {
	if one := s.session; one != nil {
		s.endpoint.sessionStore().End(one, s.followed())
		s.endpoint.pulse.count(s.endpoint, -1)
		l := s.perLoop()
		delete(l.doubted, s)
		delete(l.answers, s)
	}
}

// followed returns the topics that count for the session.
func (s *Socket) followed() (topics []string) {
	for _, c := range s.channels.all() {
		if c.history&sessioned != 0 {
			topics = append(topics, c.topic)
		}
	}
	return topics
}

// giveUpSession leaves the session to the client's new connection. This one is most likely
// half-open: unless its client answers within pulseEvery, it is ended, so that it is not taken for
// present. A client that answers has made two connections of one session. It stays
// connected, because it would connect again, and the two would end each other for ever.
func (s *Socket) giveUpSession() {
	if s.closed() {
		return
	}
	s.endpoint.sessionStore().Lend(s.session, s.followed())
	l := s.perLoop()
	if l.doubted == nil {
		l.doubted = make(map[*Socket]struct{})
	}
	l.doubted[s] = struct{}{}
	s.transport.probe(0)
	time.AfterFunc(s.endpoint.pulse.interval(), func() { s.loop.Post(netloop.TaskFunc(s.endDoubt)) })
}

// endDoubt ends a connection that has not shown that it is alive.
func (s *Socket) endDoubt() {
	if _, doubted := s.perLoop().doubted[s]; doubted {
		s.line(zerolog.DebugLevel, "half-open socket closed: its session is connected again").Write()
		s.transport.drop()
	}
}

// answered notes that a ping was answered. A browser's network process does that even while a
// page is suspended, and drops what it has for the page when it comes back, together
// with the connection (seen in Chromium). So the answer counts when the next message of the
// client shows that the page runs. The answer to a swift probe counts at once, because a
// message of the client came just before: the join.
func (s *Socket) answered(p probe) {
	l := s.perLoop()
	switch {
	case s.session == nil:
	case p.number() == 0:
		delete(l.doubted, s)
	case p&swift != 0:
		s.confirmed(p.number())
	case s.end == socketOpen:
		s.end = socketAnswered
		if l.answers == nil {
			l.answers = make(map[*Socket]uint32)
		}
		l.answers[s] = p.number()
	}
}

// confirmAnswer confirms the probe of a socket that is socketAnswered.
func (s *Socket) confirmAnswer() {
	l := s.perLoop()
	number := l.answers[s]
	delete(l.answers, s)
	s.end = socketOpen
	s.confirmed(number)
}

// confirmed notes that the program of the client has received everything that was sent
// before a probe.
func (s *Socket) confirmed(number uint32) {
	if one := s.session; one != nil {
		s.endpoint.sessionStore().Confirm(one, number)
	}
}

// probe is what a client answers, by WebSocket the payload of a ping: 8 bytes, big-endian.
// The lower half is a number of the session; 0 asks whether anybody is there.
type probe uint64

// swift marks a probe behind a replay: see Socket.answered.
const swift probe = 1 << 32

const probeBytes = 8

func (p probe) number() uint32 { return uint32(p) }

func appendProbe(b []byte, p probe) []byte { return binary.BigEndian.AppendUint64(b, uint64(p)) }

// parseProbe returns the probe that is the payload of a pong; ok is false if it cannot be
// one.
func parseProbe(payload []byte) (p probe, ok bool) {
	if len(payload) != probeBytes {
		return 0, false
	}
	p = probe(binary.BigEndian.Uint64(payload))
	return p, p>>33 == 0
}

// pulse has clients acknowledge what they were sent, while there are any with a session.
type pulse struct {
	mu      sync.Mutex
	every   time.Duration     // pulseEvery; guarded by mu
	sockets int               // with a session; guarded by mu
	timer   *time.Timer       // guarded by mu; nil until the first session
	over    bool              // guarded by mu: the endpoint is shut down
	last    *history.Position // of the last pulse; guarded by mu
	at      time.Time         // when that was; guarded by mu
}

// pulseEvery bounds how often a client is sent a probe, and so how much it is sent again
// after a break.
const pulseEvery = 5 * time.Second

// pulseAtOnce is how many sockets of a loop are looked at in one task.
const pulseAtOnce = 256

// count counts sockets with a session.
func (p *pulse) count(e *Endpoint, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch p.sockets += n; {
	case p.sockets == 1 && n > 0 && !p.over:
		p.timer = time.AfterFunc(p.every, e.beat)
	case p.sockets == 0 && p.timer != nil:
		p.timer.Stop()
	}
}

func (p *pulse) interval() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.every
}

// stop ends the pulse.
func (p *pulse) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.timer != nil {
		p.timer.Stop()
	}
}

// beat advances all sessions to what was recorded by now.
func (e *Endpoint) beat() {
	now, to := time.Now(), e.history.Passed()
	p := &e.pulse
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sockets == 0 || p.over {
		return
	}
	p.timer.Reset(p.every)
	if p.last != nil && to.Equal(*p.last) && now.Sub(p.at) < e.refreshAfter() {
		return
	}
	p.last, p.at = &to, now
	for i, lane := range e.tenant.Lanes() {
		lane.Post(&beat{e: e, loop: i, to: &to})
	}
}

// beat is the task that advances the sessions of a loop.
type beat struct {
	e    *Endpoint
	loop int
	to   *history.Position
	next int // the first socket that was not looked at; those that change places may wait for the next beat
}

// Run is for the loop.
func (b *beat) Run() {
	sockets := b.e.perLoop[b.loop].sockets
	end := min(len(sockets), b.next+pulseAtOnce)
	for _, s := range sockets[min(b.next, end):end] {
		if s.session != nil {
			s.advance(b.to, 0)
		}
	}
	if b.next = end; end < len(sockets) {
		b.e.tenant.Lanes()[b.loop].Post(b)
	}
}

// swiftWithin is how soon after a join its replay must have ended for its probe to be
// swift.
const swiftWithin = 2 * time.Second

// acknowledgeReplay has the client acknowledge a replay without waiting for the next beat.
// Otherwise a client whose connections are short would be sent the same again with each of
// them.
func (s *Socket) acknowledgeReplay(joined time.Time) {
	to := s.endpoint.history.Passed()
	kind := probe(0)
	if time.Since(joined) < swiftWithin {
		kind = swift
	}
	s.loop.Post(netloop.TaskFunc(func() { s.advance(&to, kind) }))
}

// advance moves the session of a socket to a position that was delivered before. kind is
// swift for a probe behind a replay, else 0.
func (s *Socket) advance(to *history.Position, kind probe) {
	heardAny := false
	s.channels.each(func(c *Context) { heardAny = heardAny || c.history&heard != 0 })
	number, fresh := s.endpoint.sessionStore().Advance(s.session, to, heardAny)
	if number == 0 || !fresh && (kind == swift || s.end == socketAnswered) {
		return
	}
	var behind []*Context // channels that may have messages in their mailboxes
	s.channels.each(func(c *Context) {
		if fresh {
			c.history &^= heard
		}
		if c.history&sessioned != 0 && len(c.def.intercept) > 0 {
			behind = append(behind, c)
		}
	})
	s.probeBehind(behind, probe(number)|kind)
}

// probeBehind sends a probe when channels have handled what waits for them: an
// intercepted broadcast is sent by its handler. If a channel ends meanwhile, the probe
// is not sent before the next beat.
func (s *Socket) probeBehind(channels []*Context, p probe) {
	for i, c := range channels {
		if c.behindMailbox(func() { s.probeBehind(channels[i+1:], p) }) == nil {
			return
		}
	}
	if !s.closed() {
		s.transport.probe(p)
	}
}

// visit is the part of a catch-up that a session has: after which position it begins.
type visit struct {
	onJoin int              // what the rule sends to those who join for the first time
	now    history.Position // when the client joined
}

// visitPause is the pause between two looks at a session that waits for what others know of
// it, which takes at most some seconds.
const visitPause = 10 * time.Millisecond

// beginVisit notes in the session that its client has joined a topic. The channel is
// subscribed, and leaves out recorded broadcasts.
func (c *Context) beginVisit(v *visit) {
	e := c.socket.endpoint
	v.now = e.history.Page(c.topic, history.Ask{Last: -1}).Next
	c.history |= sessioned
	e.sessionStore().Join(c.socket.session, c.topic, v.now)
}

// visits has the catch-up begin where the session says. It returns false if the catch-up
// must wait for that.
func (c *Context) visits(u *catchUp) bool {
	s, v := c.socket, u.visit
	all, one := s.endpoint.sessionStore(), s.session
	after, known, wait := all.After(one, c.topic, v.now)
	switch {
	case u.own: // the session is told, and does not tell
	case wait:
		c.readReplayIn(visitPause)
		return false
	case known || v.onJoin == 0 || u.asked:
		u.ask.Last, u.ask.After = 0, after
	default: // what the rule sends, and what has come since
		u.ask.Last = v.onJoin + s.endpoint.history.Page(c.topic, history.Ask{After: after}).Found
	}
	u.visit = nil
	return true
}

// endVisit notes the end of a channel for the session. Clients join again by themselves,
// unless they have left or were told to.
func (c *Context) endVisit() {
	c.history &^= sessioned
	s := c.socket
	if c.hasLeft() {
		s.endpoint.sessionStore().Leave(s.session, c.topic)
	} else {
		s.endpoint.sessionStore().Lose(s.session, c.topic)
	}
}
