package channels

import (
	"errors"
	"fmt"

	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/internal/prepared"
	"github.com/mycelium-rt/mycelium/pubsub"
	"github.com/mycelium-rt/mycelium/wire"
)

// Push sends an event to this client alone. The payload must encode to a JSON
// object with encoding/json, or be [Binary]; it may be reused when Push
// returns. Push waits while the endpoint is overloaded, unless the channel runs
// on the loop.
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

// PushTo is like Push, but sends the event on another topic and without a
// join_ref, as broadcasts are sent. It is for clients that listen to topics
// they have not joined, such as Absinthe's. The client gets it in order with
// the channel's other messages.
func (c *Context) PushTo(topic, event string, payload any) error {
	p, err := encodePayload(payload)
	if err != nil {
		return err
	}
	c.awaitCalm()
	return c.pushTo(nil, topic, event, p)
}

func (c *Context) push(event string, p Payload) error {
	return c.pushTo(c.joinRef, c.clientTopic(), event, p)
}

// pushTo encodes a push and sends it.
func (c *Context) pushTo(joinRef wire.Ref, topic, event string, p Payload) error {
	f, err := c.socket.key.Push(joinRef, topic, event, p)
	if err != nil {
		return c.socket.notPushed(err)
	}
	return c.send(f)
}

// notPushed returns the error of a push that could not be encoded. It returns nil if the
// transport carries text only, which is not the caller's fault, and counts the message.
func (s *Socket) notPushed(err error) error {
	if errors.Is(err, frames.ErrTextOnly) {
		s.transport.undeliverable()
		return nil
	}
	return err
}

// Broadcast sends an event to all clients that have joined the channel's topic,
// including this one. The payload is that of Push, and is encoded once.
// Broadcast waits while the endpoint is overloaded, unless the channel runs on
// the loop. It returns ErrOverloaded if only this node's clients were reached;
// see [Endpoint.Broadcast].
//
// On a topic with a durable history, the event is stored before it is delivered. Broadcast
// does not wait for that, but the reply of the handler that has called it does: it becomes
// an error if the event cannot be stored.
func (c *Context) Broadcast(event string, payload any) error {
	p, err := encodePayload(payload)
	if err != nil {
		return err
	}
	return c.broadcast(event, p, nil)
}

// BroadcastFrom is like Broadcast, but leaves out this client.
func (c *Context) BroadcastFrom(event string, payload any) error {
	p, err := encodePayload(payload)
	if err != nil {
		return err
	}
	return c.broadcast(event, p, c)
}

// Relay is like Broadcast for a payload as it came from a client. It encodes
// and allocates nothing.
func (c *Context) Relay(event string, p Payload) error { return c.broadcast(event, p, nil) }

// RelayFrom is like Relay, but leaves out this client.
func (c *Context) RelayFrom(event string, p Payload) error { return c.broadcast(event, p, c) }

func (c *Context) broadcast(event string, p Payload, from *Context) error {
	c.awaitCalm()
	if c.socket.endpoint.stores(c.topic, event) {
		return c.store(event, p, from)
	}
	return c.socket.endpoint.broadcast(c.topic, event, p, from, c)
}

// awaitCalm waits while the endpoint is overloaded, except on a loop, which must go on to
// work off the overload.
func (c *Context) awaitCalm() {
	t := c.socket.endpoint.tenant
	if c.def.onLoop {
		return
	}
	if t.Yield(); t.Overloaded() {
		_ = t.WaitNotOverloaded(c.context()) // a channel that has ended does not go on waiting
	}
}

// Broadcast sends an event to all clients that have joined topic, on all
// sockets of the endpoint and of the other nodes on its bus. It does not block,
// and the payload may be reused when it returns.
//
// Broadcast returns [ErrOverloaded] in two cases: if the endpoint is
// overloaded, nothing is sent; if too much waits for the other nodes, the
// clients of this node get the event and the others do not. No event closes a
// socket; see [Endpoint.Disconnect].
//
// On a topic with a durable history the event is stored before it is delivered, and
// Broadcast does not wait for that: [Endpoint.BroadcastStored] does.
func (e *Endpoint) Broadcast(topic, event string, payload any) error {
	if err := e.calm(); err != nil {
		return err
	}
	p, err := encodePayload(payload)
	if err != nil {
		return err
	}
	if e.stores(topic, event) {
		return e.storeUnwatched(topic, event, p, 0)
	}
	return e.broadcast(topic, event, p, nil, nil)
}

// BroadcastLocal is like Broadcast, but reaches only the clients of this node
// (Phoenix's Endpoint.local_broadcast).
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

// broadcastDiff sends a presence_diff. An overload neither refuses nor delays it, because
// a missing diff would leave clients with a wrong list. A channel whose client is slow to
// read is left out until it has read, and is then pushed a state, which amounts to all
// the diffs together.
func (e *Endpoint) broadcastDiff(topic, event string, d *prepared.Diff) error {
	b, err := newBroadcast(topic, event, Payload{Data: d.JSON})
	if err != nil {
		return err
	}
	b.state = d.Again
	b.Weigh()
	return e.pubsub.BroadcastLocal(topic, b, nil)
}

// broadcast sends an event to all clients of a topic except from, if that is not nil. by
// is the channel that broadcasts, nil for the program.
func (e *Endpoint) broadcast(topic, event string, p Payload, from, by *Context) error {
	b, err := objectBroadcast(topic, event, p)
	if err != nil {
		return err
	}
	if o := e.observer.Load(); o != nil && o.Observes(topic) {
		return e.observeBroadcast(o, topic, b, from, by)
	}
	return e.sendBroadcast(topic, b, from)
}

// sendBroadcast records and sends a broadcast. It takes over the reference to b.
func (e *Endpoint) sendBroadcast(topic string, b *broadcast, from *Context) error {
	if e.records(topic, b.Event) {
		return e.record(topic, b, from)
	}
	return e.sent(e.pubsub.Broadcast(topic, b, subscriberOf(from)))
}

// sent turns the error of a busy bus into ErrOverloaded, and counts it.
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
