package channels

import (
	"strconv"
	"time"

	"github.com/mycelium-rt/mycelium/history"
)

// A client that joins may first be sent recorded messages: those that it missed, or the
// most recent ones. Between these and the live broadcasts, no message may be missing or
// come twice:
//
//   - The channel is subscribed, and from then on leaves out recorded broadcasts
//     (catchingUp).
//   - The messages are read under the lock of the topic's history, and posted to the
//     loop under the same lock (replay). A message recorded earlier is among them; one
//     recorded later is posted later.
//   - The replay sends them, and clears catchingUp.
//
// A long replay is sent in pages, each once the client has read most of the previous ones
// (see renewals). Only the last page clears catchingUp.

// catchUp is the state of a channel that has yet to reach the live broadcasts. Owned by
// the loop.
type catchUp struct {
	ask    history.Ask
	client string       // the client's own name for itself
	count  bool         // the first page is to be counted
	asked  bool         // the join's params have "history": the client is sent history_state
	own    bool         // they, not the session, decide where the replay begins
	wrong  string       // what is wrong with them, and what would be right; "" if nothing is
	told   bool         // history_state was sent
	until  time.Time    // when to stop waiting for this node to know as much as the client; zero: not waiting
	visit  *visit       // non-nil until the session has decided where the replay begins; nil without a session
	joined time.Time    // when the client joined; zero without a session
	page   history.Page // what was read, on its way to the loop
}

// replayPage bounds a page of a replay in bytes, as does an eighth of
// Limits.OutboundBytes.
const replayPage = 64 << 10

// newCatchUp returns the catch-up of a client that joins a topic, or nil if it is sent no
// recorded messages. It sends what the join's params ask for, otherwise what the client's
// session has missed, otherwise what the rule sends on every join. The params may be any
// payload; a key "history" that is not an object is ignored.
func (s *Socket) newCatchUp(ch *Channel, topic string, params Payload) *catchUp {
	e := s.endpoint
	if e.history == nil {
		return nil
	}
	rule, ok := e.history.Keeps(topic)
	if !ok {
		return nil
	}
	u := e.askedOf(ch, params)
	if s.session != nil {
		if u == nil {
			u = new(catchUp)
		}
		u.visit, u.joined = &visit{onJoin: rule.OnJoin}, time.Now()
		return u
	}
	if u == nil && rule.OnJoin > 0 {
		u = &catchUp{ask: history.Ask{Last: rule.OnJoin}}
	}
	return u
}

// askedOf returns the catch-up that a join's params ask for in the channel's own format
// (see Channel.replayAsk) or with "history", or nil.
func (e *Endpoint) askedOf(ch *Channel, params Payload) *catchUp {
	if ch.replayAsk != nil {
		if ask, ok := ch.askReplay(e, params); ok {
			return &catchUp{ask: ask, own: true}
		}
	}
	return askedCatchUp(params)
}

// startCatchUp begins a catch-up; the channel has just been subscribed. For the loop.
func (c *Context) startCatchUp(u *catchUp) {
	l := c.socket.perLoop()
	c.history |= catchingUp
	if l.catchUps == nil {
		l.catchUps = make(map[*Context]*catchUp)
	}
	l.catchUps[c] = u
	c.nameSender(u.client)
	u.ask.Without = c.sender()
	u.count = u.ask.Last >= 0
	u.ask.PageBytes = min(replayPage, c.socket.mount.limits.OutboundBytes/8)
	if n := len(c.def.intercept); n > 0 { // intercepted messages wait in the mailbox
		most := max(1, c.socket.mount.limits.MailboxMessages/2)
		if u.ask.Limit == 0 || u.ask.Limit > most {
			u.ask.Limit = most
		}
	}
	if u.asked {
		c.follow(true)
	}
	if u.visit != nil {
		c.beginVisit(u.visit)
	}
	c.catchUpWhenRead()
}

// catchUpWhenRead sends the next page when the client has read enough. For the loop.
func (c *Context) catchUpWhenRead() {
	if c.putsOff() {
		c.putOff(renewal{replay: true})
		return
	}
	c.readReplay()
}

// readReplay reads the next page of the replay and posts it.
func (c *Context) readReplay() {
	u := c.socket.perLoop().catchUps[c]
	if u == nil || u.visit != nil && !c.visits(u) {
		return
	}
	c.socket.endpoint.history.Read(c.topic, u.ask, func(p history.Page) {
		u.page = p
		c.socket.loop.Post((*replay)(c))
	})
}

// replay is a Context as a task: it sends a page of recorded messages.
type replay Context

// Run is for the loop.
func (t *replay) Run() {
	c := (*Context)(t)
	l := c.socket.perLoop()
	u := l.catchUps[c]
	if u == nil { // the channel has ended
		return
	}
	page := u.page
	u.page = history.Page{}
	if page.Wait && c.awaitHistory(u) {
		return
	}
	counted := &c.socket.endpoint.counters.replay
	if u.count {
		u.count = false
		counted.replayed(&page)
	}
	counted.messages.Add(int64(len(page.Messages)))
	if u.asked && (!u.told || page.Missing != "") {
		u.told = true
		c.sendState(&page, u.wrong)
	}
	for i := range page.Messages {
		if c.life.view != joined {
			return
		}
		c.sendRecorded(&page.Messages[i])
	}
	if page.More {
		u.ask = history.Ask{After: page.Next, Without: u.ask.Without, PageBytes: u.ask.PageBytes}
		c.catchUpWhenRead()
		return
	}
	c.endCatchUp()
	if c.history&sessioned != 0 {
		c.socket.endpoint.sessionStore().CaughtUp(c.socket.session, c.topic)
	}
	if c.history&heard != 0 {
		c.socket.acknowledgeReplay(u.joined)
	}
	if u.asked {
		c.pushBehind(eventHistoryMark, markPayload(page.Next))
	}
}

// behindWait is how long a client whose position is ahead of this node's history waits for
// its replay, because the missing messages may arrive from another node at any moment.
// behindPause is the pause between two attempts.
const (
	behindWait  = 2 * time.Second
	behindPause = 50 * time.Millisecond
)

// awaitHistory has the page read again after behindPause. It returns false once behindWait
// has passed.
func (c *Context) awaitHistory(u *catchUp) bool {
	now := time.Now()
	if u.until.IsZero() {
		u.until = now.Add(behindWait)
	}
	if now.After(u.until) {
		return false
	}
	c.readReplayIn(behindPause)
	return true
}

func (c *Context) readReplayIn(d time.Duration) {
	lane := c.socket.loop
	time.AfterFunc(d, func() { lane.Post((*replayAgain)(c)) })
}

// replayAgain is a Context as a task: it reads a page of the replay again.
type replayAgain Context

// Run is for the loop.
func (t *replayAgain) Run() { (*Context)(t).readReplay() }

// sendRecorded sends a recorded message as a broadcast.
func (c *Context) sendRecorded(m *history.Message) {
	c.hear()
	p := c.def.replayed(c.socket.endpoint, m)
	if c.def.intercepts(m.Event) {
		if b, err := newBroadcast(c.topic, m.Event, p); err == nil {
			c.intercepted(b)
			b.Release()
		}
		return
	}
	f, err := c.socket.key.Broadcast(c.topic, m.Event, p)
	if err != nil { // binary, and the client takes only text
		c.socket.transport.undeliverable()
		return
	}
	c.socket.send(f)
}

// pushFromLoop sends a push at once. For the loop.
func (c *Context) pushFromLoop(event string, p Payload) {
	if c.life.view != joined {
		return
	}
	if f, err := c.socket.key.Push(c.joinRef, c.clientTopic(), event, p); err == nil {
		c.socket.send(f)
	}
}

// pushBehind is like pushFromLoop, but waits for the channel's handlers to send the
// broadcasts that they have intercepted.
func (c *Context) pushBehind(event string, p Payload) {
	if len(c.def.intercept) == 0 {
		c.pushFromLoop(event, p)
		return
	}
	c.behindMailbox(func() { c.pushFromLoop(event, p) }) //nolint:errcheck // the channel has ended
}

// sendState sends history_state, which tells the client whether it gets everything that it
// missed. A gap counts as a recorded broadcast: a client that does not acknowledge it is
// told again. wrong is what is wrong with the join's params, "" if nothing is.
func (c *Context) sendState(p *history.Page, wrong string) {
	if p.Missing != "" {
		c.hear()
	}
	c.pushFromLoop(eventHistoryState, statePayload(p, wrong))
}

// statePayload returns the payload of history_state for the first page of a replay.
func statePayload(p *history.Page, wrong string) Payload {
	b := append([]byte(nil), `{"recovered":`...)
	b = strconv.AppendBool(b, p.Missing == "")
	if p.Missing != "" {
		b = append(append(append(b, `,"reason":"`...), p.Missing...), '"')
	}
	if wrong != "" {
		b = strconv.AppendQuote(append(b, `,"error":`...), wrong)
	}
	b = strconv.AppendInt(append(b, `,"replayed":`...), int64(p.Found), 10)
	return Payload{Data: append(b, '}')}
}

// endCatchUp clears catchingUp: from now on recorded broadcasts are sent.
func (c *Context) endCatchUp() {
	l := c.socket.perLoop()
	c.history &^= catchingUp
	if delete(l.catchUps, c); len(l.catchUps) == 0 {
		l.catchUps = nil // gives its memory back
	}
}

// dropHistory drops the history state of a channel that ends.
func (c *Context) dropHistory() {
	if c.history&sessioned != 0 {
		c.endVisit()
	}
	if c.history&catchingUp != 0 {
		c.endCatchUp()
	}
	if c.history&following != 0 {
		c.follow(false)
	}
}
