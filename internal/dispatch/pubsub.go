// Package dispatch keeps the topics of a node and their subscribers, and brings broadcasts to them.
//
// Subscribers are kept per shard. A shard is an [Executor], in the server an event loop, and everything that happens to its
// subscribers happens there: subscribing, unsubscribing and dispatching need no lock. Shards share one thing, an index of
// which of them have subscribers of a topic.
//
// The package knows neither what a message is nor how it is written: it is given a [Dispatcher], as Phoenix.PubSub is
// given one by Phoenix.Channel.Server (lib/phoenix/channel/server.ex, dispatch/3). What goes to other nodes is written by a
// [Codec] and carried by a [pubsub.Bus].
package dispatch

import (
	"errors"
	"fmt"
	"iter"
	"sync/atomic"

	"github.com/mycelium-rt/mycelium/pubsub"
)

// MaxShards is the largest number of executors that [New] takes: many more than any machine has cores.
const MaxShards = 1 << 16

// Task is something an [Executor] runs.
type Task = interface{ Run() }

// Executor runs tasks one at a time, in the order they were posted. An event loop is one.
type Executor interface {
	// Post queues t from any goroutine. It never blocks and never runs t itself. It reports false when the
	// executor is closed; t will then never run.
	Post(t Task) bool
}

// Message is what a broadcast carries. Its owner counts references: it lives until each is released.
type Message interface {
	// Retain adds n references.
	Retain(n int32)
	// Release gives one reference back; the message must not be used through it afterwards.
	Release()
}

// Dispatcher hands a message to the subscribers of one shard.
type Dispatcher interface {
	// Dispatch runs on the shard's executor. subs belongs to this package: it is valid and unchanged during the call, and
	// Dispatch must not modify it nor subscribe or unsubscribe before it returns. from is what the broadcaster gave,
	// the subscriber to leave out or nil. m is valid during the call; whoever keeps it retains it.
	Dispatch(subs []Subscriber, from any, m Message)
}

// Codec encodes and decodes messages for a [pubsub.Bus].
type Codec interface {
	// Encode returns m as bytes for other nodes; the caller does not use them after m is released.
	Encode(topic string, m Message) []byte
	// Decode returns the message with one reference, owned by the caller. It must not keep data.
	Decode(topic string, data []byte) (Message, error)
}

// Options are the optional parts of a [PubSub].
type Options struct {
	// Bus carries broadcasts between nodes; nil on a single node. The PubSub opens and closes it.
	Bus pubsub.Bus
	// Codec writes messages for the bus; needed if there is one.
	Codec Codec
	// Stripes is the number of locks that the index of topics is spread over, a power of two. 0 is 64; a space of topics
	// that shares its executors with a thousand others needs only a few.
	Stripes int
	// OnError is called for a message that cannot be decoded, on the bus's goroutine, and if Bus.Interest panics, with a
	// lock held: it must not call the PubSub. nil ignores both.
	OnError func(error)
}

// PubSub is the topics and subscribers of one node. Methods are safe from any goroutine unless they say otherwise.
type PubSub struct {
	// Static after New.
	shards     []shard
	dispatcher Dispatcher
	link       *link // nil: single node
	codec      Codec

	index   index
	control atomic.Pointer[func(data []byte)] // nil until OnControl
	closed  atomic.Bool
}

// New returns a PubSub over shards, which keep their order: Subscribe names them by index. It opens the bus.
func New(shards []Executor, d Dispatcher, o Options) (*PubSub, error) {
	switch {
	case len(shards) == 0 || len(shards) > MaxShards:
		return nil, fmt.Errorf("pubsub: %d shards, want 1 to %d", len(shards), MaxShards)
	case d == nil:
		return nil, errors.New("pubsub: no dispatcher")
	case o.Bus != nil && o.Codec == nil:
		return nil, errors.New("pubsub: a bus needs a codec")
	case o.Stripes < 0 || o.Stripes&(o.Stripes-1) != 0:
		return nil, fmt.Errorf("pubsub: %d stripes, want a power of two", o.Stripes)
	}
	p := &PubSub{shards: make([]shard, len(shards)), dispatcher: d, codec: o.Codec}
	if o.Bus != nil {
		p.link = &link{bus: o.Bus, onError: o.OnError}
	}
	p.index.init(o.Stripes, p.link)
	for i, e := range shards {
		p.shards[i] = shard{index: i, executor: e, pubsub: p}
	}
	if p.link != nil {
		if err := o.Bus.Open(p.receive); err != nil {
			return nil, fmt.Errorf("pubsub: open bus: %w", err)
		}
	}
	return p, nil
}

// Subscribe adds s to topic. It must be called on the executor of that shard. topic is copied when it is the first
// of its group, so it may point into a buffer. A subscriber has one topic: one that is subscribed already is moved.
// Any broadcast that happens after Subscribe has returned reaches s.
func (p *PubSub) Subscribe(shard int, topic string, s Subscriber) {
	p.shards[shard].subscribe(topic, s)
}

// Topic returns topic as the string that all its subscribers on that shard share, or a new one if there are none yet: so
// that ten thousand subscribers need not keep ten thousand copies. It must be called on the executor of that shard.
func (p *PubSub) Topic(shard int, topic []byte) string {
	if g := p.shards[shard].groups.m[string(topic)]; g != nil {
		return g.topic
	}
	return string(topic)
}

// Unsubscribe removes s from its topic; nothing happens if it has none. It must be called on the executor of the
// shard where s was subscribed. s gets nothing from then on.
func (p *PubSub) Unsubscribe(shard int, s Subscriber) { p.shards[shard].unsubscribe(s) }

// Announce has broadcasts to topic go to a shard's executor from now on, as if it had a subscriber, until Withdraw is
// called as often. Any goroutine may call it: whoever announces, then posts a task that subscribes and withdraws, misses
// none of the broadcasts that happen after Announce has returned, and waits for nobody.
func (p *PubSub) Announce(shard int, topic string) { p.index.announce(topic, &p.shards[shard], 1) }

// Withdraw undoes one Announce.
func (p *PubSub) Withdraw(shard int, topic string) { p.index.announce(topic, &p.shards[shard], -1) }

// Broadcast brings m to all subscribers of topic on all nodes, except to from, which may be nil and never leaves this
// node. It consumes one reference to m, whatever it returns. topic is not kept.
//
// Broadcasts of one goroutine to one topic reach every subscriber in their order. They go through the executor's inbox
// even when the caller runs on that executor: one that was dispatched at once would overtake earlier ones that
// still wait there, and two publishers that know of each other's order would be seen in different orders by shards.
//
// An error is the bus's, or [pubsub.ErrClosed]; with the bus's, the subscribers of this node have been served all the same.
func (p *PubSub) Broadcast(topic string, m Message, from any) error {
	if p.closed.Load() {
		m.Release()
		return pubsub.ErrClosed
	}
	p.deliver(topic, m, from)
	var err error
	if p.link != nil {
		err = p.link.publish(topic, p.codec.Encode(topic, m))
	}
	m.Release()
	return err
}

// BroadcastLocal is Broadcast to the subscribers of this node only, as Phoenix.PubSub.local_broadcast is.
func (p *PubSub) BroadcastLocal(topic string, m Message, from any) error {
	if p.closed.Load() {
		m.Release()
		return pubsub.ErrClosed
	}
	p.deliver(topic, m, from)
	m.Release()
	return nil
}

// deliver posts m to each shard that has subscribers of topic, each with a reference of its own.
func (p *PubSub) deliver(topic string, m Message, from any) {
	var few [16]*group // enough for most machines' loops; append takes over above it
	groups := p.index.lookup(few[:0], topic)
	if len(groups) == 0 {
		return
	}
	m.Retain(int32(len(groups)))
	for _, g := range groups {
		g.shard.post(g.topic, m, from)
	}
}

// OnControl has f called with what other nodes send by [PubSub.SendControl], on the bus's goroutine: f must not block,
// and data is valid until it returns. It is to be called once.
func (p *PubSub) OnControl(f func(data []byte)) {
	p.control.Store(&f)
	if p.link != nil {
		p.link.tellInterest(controlTopic, true)
	}
}

// SendControl sends data to all other nodes that called [PubSub.OnControl]; without a bus it does nothing. It is a way of
// its own: nothing that is broadcast to a topic ever arrives there. data is not kept.
func (p *PubSub) SendControl(data []byte) error {
	switch {
	case p.closed.Load():
		return pubsub.ErrClosed
	case p.link == nil:
		return nil
	}
	return p.link.send(controlTopic, data)
}

// receive takes what another node published.
func (p *PubSub) receive(topic string, data []byte) {
	if topic == controlTopic {
		if f := p.control.Load(); f != nil {
			(*f)(data)
		}
		return
	}
	m, err := p.codec.Decode(topic, data)
	if err != nil {
		p.link.failed(fmt.Errorf("pubsub: receive: %w", err))
		return
	}
	p.deliver(topic, m, nil)
	m.Release()
}

// Wanted reports whether topic has subscribers on this node, or announced ones.
func (p *PubSub) Wanted(topic string) bool { return p.index.wanted(topic) }

// Subscribers returns the number of subscribers of topic on this node.
func (p *PubSub) Subscribers(topic string) int { return p.index.subscribers(topic) }

// Topics yields each topic of this node with its number of subscribers, in no order: for tools, not for hot paths.
// No lock is held while it yields; topics that come or go meanwhile may be missed.
func (p *PubSub) Topics() iter.Seq2[string, int] { return p.index.all }

// Close closes the bus and refuses further broadcasts. What was broadcast before is still delivered. Subscribe and
// Unsubscribe still work, so that channels may end afterwards. Close may be called more than once.
func (p *PubSub) Close() error {
	if p.closed.Swap(true) || p.link == nil {
		return nil
	}
	return p.link.close()
}
