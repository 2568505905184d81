package channels

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// A client that connects with the parameter "session" need not know positions: the
// server keeps the position that the client has acknowledged in each topic
// (history.Sessions), and after a break each join of the topic catches up from there.
//
// An acknowledgement costs the client no code. Every pulseEvery, the endpoint reads a
// position that has been delivered (history.Space.Passed) and posts a task to each loop,
// behind all deliveries. The task sends a probe to each client that has been sent recorded
// messages since its last one. Over WebSocket a probe is a ping, whose pong a client sends
// after it has received what came before; in long polling, the second poll after the
// answer acknowledges it. A message costs no more than setting a bit in its channel.

// sessionParam is the connect parameter that holds the client's name for its session.
const sessionParam = admission.SessionParam

// The length of a session's name in characters. A client that knows the name of another's
// session can take it over if both have the same identity or none (see owner), so the name
// must be hard to guess.
const (
	minSession = 16
	maxSession = 128
)

// nameSession gives the socket the session that its request names, if the endpoint
// records anything. It refuses an invalid name.
func (s *Socket) nameSession(r *Request) *admission.Refusal {
	h := s.endpoint.history
	value, named := r.Params[sessionParam]
	if !named || h == nil || len(h.Rules()) == 0 {
		return nil
	}
	name, isText := value.(string)
	if n := utf8.RuneCountInString(name); !isText || n < minSession || n > maxSession {
		text := fmt.Sprintf("the parameter %q must have %d to %d characters, for example a random UUID", sessionParam, minSession, maxSession)
		s.endpoint.gate.Refusals.Denied.Add(1)
		s.endpoint.log.Warn("session refused").Str("reason", text).Str("path", r.URL.Path).Write()
		return admission.TextRefusal(http.StatusBadRequest, text)
	}
	s.session = h.NewSession(s.owner(), name)
	return nil
}

// owner returns the client's identity, or "" if the server knows none. A session can only
// be taken over by a client with the same owner.
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
// half-open: unless its client answers within pulseEvery, it is closed, so that the client
// does not stay in presence lists twice. A client that answers has opened two connections
// with one session. It stays connected, because otherwise it would reconnect, and the two
// connections would close each other for ever.
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

// endDoubt closes a connection that has not shown that it is alive.
func (s *Socket) endDoubt() {
	if _, doubted := s.perLoop().doubted[s]; doubted {
		s.line(zerolog.DebugLevel, "half-open socket closed: its session is connected again").Write()
		s.transport.drop()
	}
}

// answered records that the client answered a ping. A browser's network process answers
// pings even while a page is suspended, and when the page resumes, it drops the connection
// and the messages that the page has not seen (observed in Chromium). So an answer counts
// only when the client's next message shows that the page runs. The answer to a swift probe
// counts at once, because the client has just sent a message, the join.
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

// confirmed records that the client's program has received everything that was sent before
// a probe.
func (s *Socket) confirmed(number uint32) {
	if one := s.session; one != nil {
		s.endpoint.sessionStore().Confirm(one, number)
	}
}

// probe asks the client for an acknowledgement. Over WebSocket it is the payload of a ping:
// 8 bytes, big-endian. The lower half is a number of the session; 0 only checks that the
// connection is alive.
type probe uint64

// swift marks a probe behind a replay: see Socket.answered.
const swift probe = 1 << 32

const probeBytes = 8

func (p probe) number() uint32 { return uint32(p) }

func appendProbe(b []byte, p probe) []byte { return binary.BigEndian.AppendUint64(b, uint64(p)) }

// parseProbe returns the probe in the payload of a pong; ok is false if there is none.
func parseProbe(payload []byte) (p probe, ok bool) {
	if len(payload) != probeBytes {
		return 0, false
	}
	p = probe(binary.BigEndian.Uint64(payload))
	return p, p>>33 == 0
}

// pulse has the clients that have a session acknowledge what they were sent.
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

// beat advances all sessions to the current position, and starts the timer of the next beat.
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
	next int // the first socket not visited yet; one that changes its place may be left to the next beat
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

// swiftWithin is how soon after a join its replay must end for its probe to be swift.
const swiftWithin = 2 * time.Second

// acknowledgeReplay has the client acknowledge a replay without waiting for the next beat.
// Otherwise a client whose connections are short would be sent the same messages on each.
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

// visit is a session's part in a catch-up: it decides the position after which the replay
// begins.
type visit struct {
	onJoin int              // how many messages the rule sends on a first join
	now    history.Position // when the client joined
}

// visitPause is the pause between two looks at a session that waits for what other nodes
// know of it, which takes a few seconds at most.
const visitPause = 10 * time.Millisecond

// beginVisit records in the session that its client has joined a topic. The channel is
// subscribed already, and leaves out recorded broadcasts.
func (c *Context) beginVisit(v *visit) {
	e := c.socket.endpoint
	v.now = e.history.Page(c.topic, history.Ask{Last: -1}).Next
	c.history |= sessioned
	e.sessionStore().Join(c.socket.session, c.topic, v.now)
}

// visits has the catch-up begin at the session's position. It returns false if the session
// does not know that yet; the catch-up then looks again after visitPause.
func (c *Context) visits(u *catchUp) bool {
	s, v := c.socket, u.visit
	all, one := s.endpoint.sessionStore(), s.session
	after, known, wait := all.After(one, c.topic, v.now)
	switch {
	case u.own: // the params of the join decide, not the session
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

// endVisit records the end of a channel in the session. A client joins the topic again by
// itself unless it has left, or was told to leave.
func (c *Context) endVisit() {
	c.history &^= sessioned
	s := c.socket
	if c.hasLeft() {
		s.endpoint.sessionStore().Leave(s.session, c.topic)
	} else {
		s.endpoint.sessionStore().Lose(s.session, c.topic)
	}
}
