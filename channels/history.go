package channels

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// errHistoryAndBus is returned for an endpoint whose history would miss what other
// nodes broadcast.
var errHistoryAndBus = errors.New("channels: Options.History with Options.Bus needs a store that is shared with the other nodes (history.Store.Share)")

// Events about history, for clients that have asked for them in the params of a join. A
// mark carries a position. A client that has received it has everything up to there, and
// sends it back when it joins again.
const (
	eventHistoryState = "history_state"
	eventHistoryMark  = "history_mark"
)

// historyFlags say what a channel does with recorded broadcasts. They belong to the
// loop.
type historyFlags uint8

const (
	// catchingUp: recorded broadcasts are left out, because a replay that includes them is
	// on its way to the channel.
	catchingUp historyFlags = 1 << iota
	// following: the client is sent marks.
	following
	// named: the channel has a sender, rare.sender or that of its session.
	named
	// sessioned: the channel's position is kept with the session of the socket.
	sessioned
	// heard: the client was sent recorded broadcasts, or told of a gap, since the last probe. Only
	// channels that are sessioned have it, so that the others pay nothing.
	heard
)

// hear notes that the client is sent a recorded broadcast, or told of a gap.
func (c *Context) hear() { c.history |= c.history & sessioned * (heard / sessioned) }

// History returns Options.History.
func (e *Endpoint) History() *history.Space { return e.history }

// records reports whether a broadcast is recorded.
func (e *Endpoint) records(topic, event string) bool {
	return e.history != nil && e.history.Records(topic, event) && ReservedEvent(event) == ""
}

// record broadcasts an event that is recorded. It takes over the reference to b.
func (e *Endpoint) record(topic string, b *broadcast, from *Context) (err error) {
	m := history.Message{Event: b.Event, Payload: b.Payload.Data, Binary: b.Payload.Binary}
	if from != nil {
		m.Sender = from.sender()
	}
	b.sender = m.Sender
	sent := e.history.Record(topic, &m, func(recorded bool) {
		b.historic = recorded
		err = e.pubsub.BroadcastLocal(topic, b, subscriberOf(from))
	})
	if err == nil {
		err = e.sent(sent)
	}
	return err
}

// receiver is an Endpoint as the receiver of what happens in its history.
type receiver Endpoint

var _ history.Receiver = (*receiver)(nil)

// checkHistory shares Options.History with other nodes if there is a Bus.
func (o *Options) checkHistory() error {
	if o.History != nil && o.Bus != nil && o.History.Share() != nil {
		return errHistoryAndBus
	}
	return nil
}

// Receive implements history.Receiver: it broadcasts a message of another node.
func (r *receiver) Receive(topic string, m *history.Message, recorded bool) {
	e := (*Endpoint)(r)
	if !e.pubsub.Wanted(topic) {
		return
	}
	b, err := newBroadcast(topic, m.Event, Payload{Data: m.Payload, Binary: m.Binary})
	if err != nil {
		e.log.Error("a message of another node cannot be encoded").Err(err).Write()
		return
	}
	b.historic, b.sender = recorded, m.Sender
	e.pubsub.BroadcastLocal(topic, b, nil) //nolint:errcheck // a closed endpoint has no clients
}

// subscriberOf returns a channel as the subscriber to leave out; nil for none, which
// must not become a nil *Context in an interface.
func subscriberOf(from *Context) any {
	if from == nil {
		return nil
	}
	return from
}

// sender returns what identifies the channel's client across connections, 0 if the
// client has not named itself.
func (c *Context) sender() uint64 {
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if x := c.extras; x != nil && x.rare != nil && x.rare.sender != 0 {
		return x.rare.sender
	}
	if one := c.socket.session; one != nil {
		return one.Key().Sender()
	}
	return 0
}

// nameSender notes the client's own name for itself. For the loop.
func (c *Context) nameSender(name string) {
	if name == "" {
		if c.socket.session != nil {
			c.history |= named
		}
		return
	}
	sum := sha256.Sum256([]byte(name))
	c.life.mu.Lock()
	c.rareLocked().sender = max(1, binary.BigEndian.Uint64(sum[:]))
	c.life.mu.Unlock()
	c.history |= named
}

// passesOver reports whether a recorded broadcast, or a mark, is not sent to the channel.
func (c *Context) passesOver(b *broadcast) bool {
	switch {
	case c.history&catchingUp != 0:
		return true
	case b.mark && c.history&following != 0 && len(c.def.intercept) > 0:
		p := Payload{Data: bytes.Clone(b.Payload.Data)}
		c.pushBehind(eventHistoryMark, p)
		return true
	case b.mark:
		return c.history&following == 0
	}
	if b.sender != 0 && c.history&named != 0 && c.sender() == b.sender {
		return true
	}
	c.hear()
	return false
}

// Mark implements history.Receiver: it sends the clients of a topic that follow its
// history their position. The topic's history is locked, so the mark follows everything
// that it includes.
func (r *receiver) Mark(topic string, p history.Position) {
	e := (*Endpoint)(r)
	b, err := newBroadcast(topic, eventHistoryMark, markPayload(p))
	if err != nil {
		e.log.Error("a mark cannot be encoded").Err(err).Write()
		return
	}
	b.historic, b.mark = true, true
	e.pubsub.BroadcastLocal(topic, b, nil) //nolint:errcheck // a closed endpoint has no clients
}

// Lost implements history.Receiver: it tells the clients that follow the history of some
// topics that there is a gap. Those that are still catching up will find the gap
// themselves.
func (r *receiver) Lost(topics []string, why history.Reason) {
	e := (*Endpoint)(r)
	lost := make(map[string]bool, len(topics))
	for _, topic := range topics {
		lost[topic] = true
	}
	gap := &history.Page{Missing: why}
	for i, lane := range e.tenant.Lanes() {
		lane.Post(netloop.TaskFunc(func() {
			for c := range e.perLoop[i].followers {
				if c.history&catchingUp == 0 && (topics == nil || lost[c.topic]) {
					c.sendState(gap, "")
				}
			}
		}))
	}
}

func markPayload(p history.Position) Payload {
	return Payload{Data: append(append([]byte(`{"pos":"`), p.String()...), `"}`...)}
}

// Positions become too old even if nothing is recorded on their topic, because what other
// topics have lost cannot always be told apart from what this one has lost. So clients
// that follow are sent new marks, three times within the shortest age of the rules, but
// not more often than every leastRefresh.
const (
	marksWithinAge = 3
	leastRefresh   = 10 * time.Second
	refreshAtOnce  = 256 // channels of a loop in one task
)

// refresher sends new marks while there are clients that follow.
type refresher struct {
	mu    sync.Mutex
	count int         // followers; guarded by mu
	timer *time.Timer // guarded by mu; nil until the first follower
	over  bool        // guarded by mu: the endpoint is shut down
}

// follow starts or stops sending marks to a channel. For the loop.
func (c *Context) follow(on bool) {
	l, e, n := c.socket.perLoop(), c.socket.endpoint, 1
	if on {
		c.history |= following
		if l.followers == nil {
			l.followers = make(map[*Context]struct{})
		}
		l.followers[c] = struct{}{}
	} else {
		n = -1
		c.history &^= following
		if delete(l.followers, c); len(l.followers) == 0 {
			l.followers = nil // gives its memory back
		}
	}
	e.history.Follow(n)
	r := &e.refresher
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count += n; r.count == 1 && on && !r.over {
		r.timer = time.AfterFunc(e.refreshAfter(), e.refreshMarks)
	} else if r.count == 0 && r.timer != nil {
		r.timer.Stop()
	}
}

// refreshAfter returns the longest time between two marks.
func (e *Endpoint) refreshAfter() time.Duration {
	var least time.Duration
	for _, r := range e.history.Rules() {
		if every := r.Age / marksWithinAge; least == 0 || every < least {
			least = every
		}
	}
	return max(least, leastRefresh)
}

// refreshMarks sends new marks to all clients that follow.
func (e *Endpoint) refreshMarks() {
	for i, lane := range e.tenant.Lanes() {
		lane.Post(netloop.TaskFunc(func() {
			var list []*Context
			for c := range e.perLoop[i].followers {
				list = append(list, c)
			}
			e.refreshSome(lane, list)
		}))
	}
	r := &e.refresher
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count > 0 && !r.over {
		r.timer.Reset(e.refreshAfter())
	}
}

// refreshSome sends new marks to some channels, and leaves the rest to another task.
func (e *Endpoint) refreshSome(lane *netloop.Lane, list []*Context) {
	n := min(len(list), refreshAtOnce)
	for _, c := range list[:n] {
		if c.history&following != 0 && c.history&catchingUp == 0 {
			e.history.Read(c.topic, history.Ask{Last: -1}, func(p history.Page) {
				lane.Post(netloop.TaskFunc(func() { c.pushBehind(eventHistoryMark, markPayload(p.Next)) }))
			})
		}
	}
	if rest := list[n:]; len(rest) > 0 {
		lane.Post(netloop.TaskFunc(func() { e.refreshSome(lane, rest) }))
	}
}

// closeHistory detaches the endpoint from its history and stops the marks.
func (e *Endpoint) closeHistory() {
	if e.leaveHistory != nil {
		e.leaveHistory()
	}
	e.pulse.stop()
	r := &e.refresher
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = true
	if r.timer != nil {
		r.timer.Stop()
	}
}
