package channels

import (
	"errors"
	"fmt"

	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/internal/prepared"
	"github.com/mycelium-rt/mycelium/pubsub"
	"github.com/mycelium-rt/mycelium/wire"
)

// Push sends an event to this client alone. payload is a JSON object in any
// form that encoding/json takes, json.RawMessage, or [Binary]. It does not
// block but while the endpoint is overloaded, and then only if the channel does
// not run on the loop. The payload may be reused when it returns.
func (c *Context) Push(event string, payload any) error {
	if s, ok := payload.(*prepared.State); ok {
		return c.pushState(s)
	}
	p, err := encodePayload(payload)
	if err != nil {
		return err
	}
	c.awaitCalm()
	return c.push(event, p)
}

// PushTo is Push on another topic than the channel's own, without a join_ref, as
// broadcasts are: for clients that listen to topics which they have not joined,
// such as Absinthe's. It keeps its place among what else the channel sends.
func (c *Context) PushTo(topic, event string, payload any) error {
	p, err := encodePayload(payload)
	if err != nil {
		return err
	}
	c.awaitCalm()
	return c.pushTo(nil, topic, event, p)
}

func (c *Context) push(event string, p Payload) error { return c.pushTo(c.joinRef, c.topic, event, p) }

// pushTo encodes a push and sends it.
func (c *Context) pushTo(joinRef wire.Ref, topic, event string, p Payload) error {
	f, err := c.socket.key.Push(joinRef, topic, event, p)
	if err != nil {
		return c.socket.notPushed(err)
	}
	return c.send(f)
}

// notPushed takes the error of a push that cannot be encoded. That the transport
// carries no bytes is not the caller's fault: it is counted.
func (s *Socket) notPushed(err error) error {
	if errors.Is(err, frames.ErrTextOnly) {
		s.transport.undeliverable()
		return nil
	}
	return err
}

// Broadcast sends an event to all who have joined the channel's topic, this
// client included. The payload is encoded once, as for Push. It waits while
// the endpoint is overloaded, unless the channel runs on the loop. ErrOverloaded
// if it has reached this node's sockets alone: see [Endpoint.Broadcast].
func (c *Context) Broadcast(event string, payload any) error {
	p, err := encodePayload(payload)
	if err != nil {
		return err
	}
	return c.broadcast(event, p, nil)
}

// BroadcastFrom is Broadcast to all but this client.
func (c *Context) BroadcastFrom(event string, payload any) error {
	p, err := encodePayload(payload)
	if err != nil {
		return err
	}
	return c.broadcast(event, p, c)
}

// Relay is Broadcast for a payload as it came from a client: nothing is
// encoded and nothing allocated.
func (c *Context) Relay(event string, p Payload) error { return c.broadcast(event, p, nil) }

// RelayFrom is Relay to all but this client.
func (c *Context) RelayFrom(event string, p Payload) error { return c.broadcast(event, p, c) }

func (c *Context) broadcast(event string, p Payload, from *Context) error {
	c.awaitCalm()
	return c.socket.endpoint.broadcast(c.topic, event, p, from)
}

// awaitCalm waits while the endpoint is overloaded, but on a loop, which has to
// work that off.
func (c *Context) awaitCalm() {
	t := c.socket.endpoint.tenant
	if c.def.onLoop {
		return
	}
	if t.Yield(); t.Overloaded() {
		_ = t.WaitNotOverloaded(c.context()) // a channel whose client is gone does not wait on
	}
}

// Broadcast sends an event to all who have joined topic on any socket of the
// endpoint, and of the other nodes on its bus. It never blocks, and the
// payload may be reused when it returns. While the endpoint is overloaded,
// because more is broadcast than it gets done, nothing is sent and ErrOverloaded
// returned; and while too much waits for the other nodes, because their network is away, it is sent to this node's
// sockets alone and ErrOverloaded returned. No event closes a socket: that is what [Endpoint.Disconnect] is for.
func (e *Endpoint) Broadcast(topic, event string, payload any) error {
	if err := e.calm(); err != nil {
		return err
	}
	p, err := encodePayload(payload)
	if err != nil {
		return err
	}
	return e.broadcast(topic, event, p, nil)
}

// BroadcastLocal is Broadcast to the sockets of this node only, for what each
// node tells its own clients (Phoenix's Endpoint.local_broadcast).
func (e *Endpoint) BroadcastLocal(topic, event string, payload any) error {
	if d, ok := payload.(*prepared.Diff); ok {
		return e.broadcastDiff(topic, event, d)
	}
	if err := e.calm(); err != nil {
		return err
	}
	p, err := encodePayload(payload)
	if err != nil {
		return err
	}
	return e.broadcastLocal(topic, event, p)
}

// calm refuses what the program broadcasts while the endpoint is overloaded.
func (e *Endpoint) calm() error {
	e.tenant.Yield()
	if e.tenant.Overloaded() {
		e.counters.overloaded.Add(1)
		return ErrOverloaded
	}
	return nil
}

// broadcastDiff sends a presence_diff. It is not refused for an overload, and not
// waited with: one diff that is missing would leave clients with a wrong list. A
// channel whose client is slow to read is left out until it has read, and is then
// pushed a state, which amounts to all the diffs together.
func (e *Endpoint) broadcastDiff(topic, event string, d *prepared.Diff) error {
	b, err := newBroadcast(topic, event, Payload{Data: d.JSON})
	if err != nil {
		return err
	}
	b.state = d.Again
	b.Weigh()
	return e.pubsub.BroadcastLocal(topic, b, nil)
}

func (e *Endpoint) broadcast(topic, event string, p Payload, from *Context) error {
	b, err := objectBroadcast(topic, event, p)
	if err != nil {
		return err
	}
	if from == nil { // not a nil *Context in an interface
		err = e.pubsub.Broadcast(topic, b, nil)
	} else {
		err = e.pubsub.Broadcast(topic, b, from)
	}
	return e.sent(err)
}

// sent makes ErrOverloaded of a bus that is busy.
func (e *Endpoint) sent(err error) error {
	if errors.Is(err, pubsub.ErrBusy) {
		e.counters.overloaded.Add(1)
		return fmt.Errorf("%w: other nodes are not reached", ErrOverloaded)
	}
	return err
}

func (e *Endpoint) broadcastLocal(topic, event string, p Payload) error {
	b, err := objectBroadcast(topic, event, p)
	if err != nil {
		return err
	}
	return e.pubsub.BroadcastLocal(topic, b, nil)
}

// objectBroadcast is newBroadcast for what clients take: an object or bytes.
func objectBroadcast(topic, event string, p Payload) (*broadcast, error) {
	if !p.Binary && !wire.IsObject(p.Data) {
		return nil, ErrNotObject
	}
	return newBroadcast(topic, event, p)
}
