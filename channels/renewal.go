package channels

import (
	"reflect"
	"slices"

	"github.com/mycelium-rt/mycelium/internal/callback"
	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/prepared"
)

// A message that the server sends by itself, such as a presence_state or the
// backlog of a room, can be made again at any time, and is then newer. So it
// need not fill the queue of a client that is slow to read: while much waits
// for a client, such a message is dropped, and made again when the client has
// read.
//
// The client gets these messages one at a time, each when less than a quarter
// of Limits.OutboundBytes waits, and each counts for at most a quarter. The
// rest of the limit is left to what others send.

// renewal says how a message is made again. The zero renewal is for a message
// that is not.
type renewal struct {
	state  func(channel any) error // pushes a presence_state; it runs on the loop
	replay bool                    // the next page of a replay; see catchUp
	info   any                     // otherwise: a message to the channel, whose handler pushes
}

func (r *renewal) isZero() bool { return r.state == nil && !r.replay && r.info == nil }

// equals reports whether one of the two messages makes the other unnecessary.
func (r *renewal) equals(o *renewal) bool {
	if r.state != nil || o.state != nil {
		return r.state != nil && o.state != nil
	}
	if r.replay || o.replay {
		return r.replay && o.replay
	}
	return reflect.TypeOf(r.info) == reflect.TypeOf(o.info)
}

// renewals are the messages to be made again for a socket. They exist only
// while there are any. Owned by the loop.
type renewals struct {
	waiting []dueRenewal
	turn    *Context // the channel whose message is being made; nil: none
	awaits  bool     // the transport will call drained
}

type dueRenewal struct {
	c *Context
	renewal
}

// Divisors of Limits.OutboundBytes: how much may wait for a client that is sent
// such a message.
const (
	lagOfRenewals = 4
	lagOfDiffs    = 2
)

// PushFresh is like [Context.Push], for a large message that the channel can
// make again at any time, such as the recent messages of a room for a client
// that has just joined. If much still waits to be sent to the client, the
// payload is dropped. When the client has read, again is sent to the channel,
// as by [Context.Send]; its [Info] handler should make a fresh payload and call
// PushFresh with it. Of the values that wait to be sent to a channel again,
// there is one of each type; further ones are dropped.
//
// The message counts against Limits.OutboundBytes with a quarter of that limit
// at most, whatever its size.
func (c *Context) PushFresh(event string, payload, again any) error {
	p, err := encodePayload(payload)
	if err != nil {
		return err
	}
	c.awaitCalm()
	f, err := c.socket.key.Push(c.joinRef, c.clientTopic(), event, p)
	if err != nil {
		return c.socket.notPushed(err)
	}
	f.Weigh(f.Size())
	return c.deliver(delivery{c: c, f: f, renewal: renewal{info: again}})
}

// pushState pushes a presence_state, whose parts are sent from where they are. If
// much still waits for the client, nothing is sent; presence_diffs are left out for it
// until s.Again has pushed a newer state. It never blocks: presence holds a lock.
func (c *Context) pushState(s *prepared.State) error {
	f, more, err := c.socket.key.Series(c.joinRef, c.clientTopic(), s.Series)
	if err != nil {
		return err
	}
	return c.deliver(delivery{c: c, f: f, more: more, renewal: renewal{state: s.Again}})
}

// putsOff reports whether a message must wait, because the client has to read
// first or other messages are due before.
func (c *Context) putsOff() bool {
	s := c.socket
	if p := s.perLoop().renewals[s]; p != nil && p.turn != c {
		return true
	}
	return s.transport.lags(lagOfRenewals)
}

// putOff schedules a message to be made again when its client has read.
func (c *Context) putOff(r renewal) {
	s := c.socket
	l := s.perLoop()
	p := l.renewals[s]
	if p == nil {
		if l.renewals == nil {
			l.renewals = make(map[*Socket]*renewals)
		}
		p = new(renewals)
		l.renewals[s] = p
	}
	c.stateDue = c.stateDue || r.state != nil
	known := slices.ContainsFunc(p.waiting, func(d dueRenewal) bool { return d.c == c && d.equals(&r) })
	if !known {
		p.waiting = append(p.waiting, dueRenewal{c, r})
		s.endpoint.counters.putOff.Add(1)
	}
	s.await(p)
}

// await continues the renewals when the client has read.
func (s *Socket) await(p *renewals) {
	if p.turn == nil && !p.awaits {
		p.awaits = true
		s.transport.notifyDrained()
	}
}

// drained is called once for each notifyDrained, when the client has read.
func (s *Socket) drained() {
	if p := s.perLoop().renewals[s]; p != nil {
		p.awaits = false
		s.renewNext(p)
	}
}

// renewNext makes the next message if there is room for it.
func (s *Socket) renewNext(p *renewals) {
	for p.turn == nil && !s.closed() {
		switch {
		case len(p.waiting) == 0:
			delete(s.perLoop().renewals, s)
			return
		case s.transport.lags(lagOfRenewals):
			s.await(p)
			return
		}
		d := p.waiting[0]
		p.waiting[0], p.waiting = dueRenewal{}, p.waiting[1:]
		if d.c.life.view == joined {
			p.turn = d.c
			d.c.renew(d.renewal)
		}
	}
}

// renew makes a message. The turn of its channel ends then, whether anything
// was sent or not.
func (c *Context) renew(r renewal) {
	if r.replay {
		c.readReplay()
		c.giveTurn()
		return
	}
	if r.state == nil {
		// Like a timer, it is not refused by a full mailbox.
		if c.enqueue(item{kind: itemTimer, info: r.info, inTurn: true}) != nil {
			c.giveTurn()
		}
		return
	}
	defer c.giveTurn()
	if err := c.callAgain(r.state); err != nil { // the tracker is closed
		c.stateDue = false
	}
}

func (c *Context) callAgain(again func(channel any) error) (err error) {
	defer callback.Recover("presence", &err)
	return again(c)
}

// giveTurn ends the channel's turn after everything that it has sent. Any
// goroutine may call it; it does nothing if the channel does not have the turn.
func (c *Context) giveTurn() { c.socket.loop.Post((*turnOver)(c)) }

// turnOver is a Context as the task that ends the channel's turn.
type turnOver Context

// Run is for the loop.
func (t *turnOver) Run() {
	c := (*Context)(t)
	s := c.socket
	if p := s.perLoop().renewals[s]; p != nil && p.turn == c {
		p.turn = nil
		s.renewNext(p)
	}
}

// forgetTurn ends the turn of a channel that ends, whose message may never be
// made.
func (c *Context) forgetTurn() {
	s := c.socket
	if p := s.perLoop().renewals[s]; p != nil && p.turn == c {
		c.giveTurn()
	}
}

// leavesOut reports whether a presence_diff must not be sent to the channel's
// client, because the client is too slow and will be sent a state that includes
// the diff.
func (c *Context) leavesOut(b *broadcast) bool {
	switch {
	case c.stateDue:
	case c.socket.transport.lags(lagOfDiffs):
		c.putOff(renewal{state: b.state})
	default:
		return false
	}
	return true
}

// sendOrPutOff sends all frames of a delivery, or none.
func (c *Context) sendOrPutOff(f *netloop.Frame, more []*netloop.Frame, r renewal) {
	if !r.isZero() && c.putsOff() {
		f.Release()
		frames.Release(more)
		c.putOff(r)
		return
	}
	if r.state != nil {
		c.stateDue = false
	}
	c.socket.send(f)
	for _, f := range more {
		c.socket.send(f)
	}
}
