package channels

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/mycelium-rt/mycelium/internal/callback"
	"github.com/mycelium-rt/mycelium/internal/dispatch"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// Listener is a subscription of the program to a topic; see
// [Endpoint.Subscribe].
type Listener struct {
	endpoint *Endpoint
	shard    int
	topic    string
	receive  func(topic, event string, p Payload)
	closed   atomic.Bool

	sub dispatch.Subscription // owned by the shard's loop
}

var listenerSeed = maphash.MakeSeed()

// Subscribe calls receive with every broadcast to topic that is sent after
// Subscribe has returned, until the Listener is closed (Phoenix's
// Endpoint.subscribe). receive runs on an event loop and must not block. The
// payload is valid until receive returns.
func (e *Endpoint) Subscribe(topic string, receive func(topic, event string, p Payload)) *Listener {
	loops := e.loops.Loops()
	l := &Listener{
		endpoint: e, topic: topic, receive: receive,
		shard: int(maphash.String(listenerSeed, topic) % uint64(len(loops))),
	}
	e.onLoop(l.shard, func() { e.pubsub.Subscribe(l.shard, topic, (*listenerSubscriber)(l)) })
	return l
}

// Close ends the subscription. When it has returned, receive is not called any
// more. It must not be called from receive.
func (l *Listener) Close() {
	if l.closed.Swap(true) {
		return
	}
	l.endpoint.onLoop(l.shard, func() { l.endpoint.pubsub.Unsubscribe(l.shard, (*listenerSubscriber)(l)) })
}

// listenerSubscriber is a Listener as the subscriber of its topic: see
// [channelSubscriber].
type listenerSubscriber Listener

// Subscription implements dispatch.Subscriber.
func (s *listenerSubscriber) Subscription() *dispatch.Subscription { return &s.sub }

// deliver calls receive. A panic in it ends nothing: the subscription goes on.
func (l *Listener) deliver(b *broadcast) {
	l.endpoint.reportPanic(l.call(b))
}

func (l *Listener) call(b *broadcast) (err error) {
	defer callback.Recover("Subscribe", &err)
	l.receive(b.Topic, b.Event, b.Payload)
	return nil
}

// onLoop runs f on a loop and waits for it. If the loops are closed, it does
// nothing. It must not be called on a loop.
func (e *Endpoint) onLoop(shard int, f func()) {
	done := make(chan struct{})
	if e.tenant.Lanes()[shard].Post(netloop.TaskFunc(func() { defer close(done); f() })) {
		<-done
	}
}
