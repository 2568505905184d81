package channels

import (
	"reflect"
	"slices"

	"github.com/mycelium-rt/mycelium/internal/callback"
	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/prepared"
)

// What the server sends by itself (a presence_state, the backlog of a room) can be
// made again at any time, and is then newer. So it never fills the queue of a
// client that is slow to read: while much waits for a client, a message of that
// kind is dropped, and made again when the client has read.
//
// The client gets them one at a time, each when less than a quarter of
// Limits.OutboundBytes waits, and each counts a quarter at most. The rest is left
// to what others send.

// renewal is how a message is made again; the zero value is a message that is not.
type renewal struct {
	state func(channel any) error // pushes a presence_state; it runs on the loop
	info  any                     // else: what the channel is sent, which pushes the message
}

func (r *renewal) isZero() bool { return r.state == nil && r.info == nil }

// equals reports whether one of the two messages makes the other superfluous.
func (r *renewal) equals(o *renewal) bool {
	if r.state != nil || o.state != nil {
		return r.state != nil && o.state != nil
	}
	return reflect.TypeOf(r.info) == reflect.TypeOf(o.info)
}

// renewals are what is to be made again for a socket. They exist only while there is
// something. Owned by the loop.
type renewals struct {
	waiting []dueRenewal
	turn    *Context // whose message is being made; nil: nobody's
	awaits  bool     // the transport will call drained
}

type dueRenewal struct {
	c *Context
	renewal
}

// Divisors of Limits.OutboundBytes: what may wait for a client that is sent
// another message.
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
	f, err := c.socket.key.Push(c.joinRef, c.topic, event, p)
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
	f, more, err := c.socket.key.Series(c.joinRef, c.topic, s.Series)
	if err != nil {
		return err
	}
	return c.deliver(delivery{c: c, f: f, more: more, renewal: renewal{state: s.Again}})
}

// putsOff reports whether a message is not to be sent now because the client has
// to read first, or because others were there before.
func (c *Context) putsOff() bool {
	s := c.socket
	if p := s.perLoop().renewals[s]; p != nil && p.turn != c {
		return true
	}
	return s.transport.lags(lagOfRenewals)
}

// putOff has a message made again when its client has read what waits for it.
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

// await has the renewals go on when the client has read.
func (s *Socket) await(p *renewals) {
	if p.turn == nil && !p.awaits {
		p.awaits = true
		s.transport.notifyDrained()
	}
}

// drained is called when the client has read, once for each notifyDrained.
func (s *Socket) drained() {
	if p := s.perLoop().renewals[s]; p != nil {
		p.awaits = false
		s.renewNext(p)
	}
}

// renewNext has the next message made if there is room for it.
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

// renew has a message made. The turn of its channel is over when that has been
// done, whether anything was sent or not.
func (c *Context) renew(r renewal) {
	if r.state == nil {
		// Not refused by a full mailbox, as a timer is not.
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

// giveTurn ends the channel's turn behind all that it has sent. From any goroutine;
// it does no harm if the channel has not the turn.
func (c *Context) giveTurn() { c.socket.loop.Post((*turnOver)(c)) }

// turnOver is a Context as the task that ends its turn.
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

// forgetTurn is for a channel that ends: what it was to make may never be made.
func (c *Context) forgetTurn() {
	s := c.socket
	if p := s.perLoop().renewals[s]; p != nil && p.turn == c {
		c.giveTurn()
	}
}

// leavesOut reports whether the channel's client is not to be sent a presence_diff:
// it is too slow for it, and will be sent a state that has what the diff says.
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

// sendOrPutOff sends the frames of a delivery, all or none.
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
