package channels

import (
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"

	"github.com/mycelium-rt/mycelium/internal/dispatch"
)

// Broadcast is a broadcast to a topic that the channel has subscribed to with
// [Context.Subscribe]. The [Info] handler of this type is called with it.
type Broadcast struct {
	Topic   string
	Event   string
	Payload Payload // valid until the handler returns
}

var broadcastType = reflect.TypeFor[Broadcast]()

// Subscribe subscribes the channel to another topic (Phoenix's
// Endpoint.subscribe). Its Info handler of type [Broadcast] is called with
// every broadcast that is sent after Subscribe has returned, until
// [Context.Unsubscribe] or the end of the channel, but not with what the
// channel itself sends by BroadcastFrom. A second call for the same topic does
// nothing. Subscribe may be called from the join callback.
//
// A broadcast that does not fit into the mailbox ends the channel with
// ErrMailboxFull, so that none is missed unnoticed. Subscribe returns
// ErrTooManyTopics or ErrEnded if it fails.
func (c *Context) Subscribe(topic string) error {
	if c.def.info[broadcastType] == nil {
		return fmt.Errorf("channels: %q subscribes to %q without an Info handler of channels.Broadcast", c.def.pattern, topic)
	}
	return c.subscribe(topic, false)
}

// Forward subscribes the client itself to another topic: broadcasts to it are
// sent to the client as messages of that topic, which the client need not have
// joined (Phoenix's fastlane, by which Absinthe sends the results of
// subscriptions). Otherwise it is like Subscribe. A client that has also joined
// the topic gets each broadcast twice. Forward does nothing for the channel's own
// topic.
//
// Broadcasts during the join are sent after its reply. In a handler of an event, a
// broadcast may reach the client before the handler's reply, as in Phoenix. If it
// must not, hold a lock of the topic both while broadcasting and in the handler
// until it has replied with [Ref.Reply].
func (c *Context) Forward(topic string) error {
	if topic == c.topic {
		return nil
	}
	return c.subscribe(topic, true)
}

// Unsubscribe ends what Subscribe and Forward began for a topic. If a callback
// calls it, the Info handler gets no more broadcasts of the topic. Broadcasts
// that were forwarded before may still be on their way to the client.
func (c *Context) Unsubscribe(topic string) {
	c.life.mu.Lock()
	var ended []*subscription
	if x := c.extras; x != nil && x.rare != nil {
		x.rare.subscriptions = slices.DeleteFunc(x.rare.subscriptions, func(s *subscription) bool {
			if s.topic == topic {
				s.over.Store(true)
				ended = append(ended, s)
			}
			return s.topic == topic
		})
	}
	c.life.mu.Unlock()
	for _, s := range ended {
		c.Keep(-s.size())
		c.socket.loop.Post((*unsubscribing)(s))
	}
}

// subscription is a channel's place in a further topic.
type subscription struct {
	// Static after construction.
	c        *Context
	topic    string
	toClient bool // else to the channel's mailbox

	over atomic.Bool // Unsubscribe was called, or the channel has ended

	sub dispatch.Subscription // owned by the socket's loop
}

// Subscription implements dispatch.Subscriber.
func (s *subscription) Subscription() *dispatch.Subscription { return &s.sub }

// subscriptionBytes is the memory of a subscription without its topic,
// including its place among the topic's subscribers.
const subscriptionBytes = 128

// size returns what a subscription counts against Limits.SocketBytes.
func (s *subscription) size() int { return len(s.topic) + subscriptionBytes }

func (c *Context) subscribe(topic string, toClient bool) error {
	s := &subscription{c: c, topic: topic, toClient: toClient}
	if added, err := c.addSubscription(s); err != nil || !added {
		return err
	}
	shard, topics := c.socket.loop.Index(), c.socket.endpoint.pubsub
	topics.Announce(shard, topic)
	if !c.socket.loop.Post((*subscribing)(s)) {
		topics.Withdraw(shard, topic)
		return ErrEnded
	}
	return nil
}

// addSubscription adds a subscription. It returns false if the channel has an
// equal one.
func (c *Context) addSubscription(s *subscription) (bool, error) {
	limits := c.socket.mount.limits
	c.life.mu.Lock()
	defer c.life.mu.Unlock()
	if c.life.cause != nil {
		return false, ErrEnded
	}
	x := c.rareLocked()
	if slices.ContainsFunc(x.subscriptions, func(o *subscription) bool { return o.topic == s.topic && o.toClient == s.toClient }) {
		return false, nil
	}
	if n := limits.TopicsPerChannel; n >= 0 && len(x.subscriptions) >= n {
		return false, ErrTooManyTopics
	}
	if n := limits.SocketBytes; n >= 0 && c.keptBytes()+s.size() > n {
		return false, ErrTooManyTopics
	}
	c.Keep(s.size())
	x.subscriptions = append(x.subscriptions, s)
	return true, nil
}

// subscribing and unsubscribing are a subscription as tasks for its loop.
type (
	subscribing   subscription
	unsubscribing subscription
)

// Run is for the loop. The channel may have ended since, or Unsubscribe been called.
func (t *subscribing) Run() {
	s := (*subscription)(t)
	shard, topics := s.c.socket.loop.Index(), s.c.socket.endpoint.pubsub
	if !s.over.Load() && s.c.life.view != ended {
		topics.Subscribe(shard, s.topic, s)
	}
	topics.Withdraw(shard, s.topic)
}

// Run is for the loop.
func (t *unsubscribing) Run() {
	s := (*subscription)(t)
	s.c.socket.endpoint.pubsub.Unsubscribe(s.c.socket.loop.Index(), s)
}

// dropSubscriptions ends all subscriptions when the view ends; later ones are
// never subscribed. For the loop.
func (c *Context) dropSubscriptions() {
	c.life.mu.Lock()
	var all []*subscription
	if x := c.extras; x != nil && x.rare != nil {
		all, x.rare.subscriptions = x.rare.subscriptions, nil
	}
	c.life.mu.Unlock()
	for _, s := range all {
		s.over.Store(true)
		(*unsubscribing)(s).Run()
	}
}

// dispatch passes a broadcast to the channel or its client. For the loop.
func (s *subscription) dispatch(b *broadcast, sent *sending) {
	switch c := s.c; {
	case s.over.Load():
	case !s.toClient:
		c.enqueueBroadcast(item{kind: itemBroadcast, out: b, payload: b.Payload, info: s})
	case c.life.view == joining && len(c.pending.pushed) >= c.socket.mount.limits.MailboxMessages:
		c.missedBroadcast()
	default:
		f := sent.frames.TakeFrame(c.socket.key)
		switch {
		case f == nil:
			c.socket.transport.undeliverable()
		case c.life.view == joining: // the reply of the join comes first
			c.pending.pushed = append(c.pending.pushed, f)
		default:
			sent.queue(c.socket, f)
		}
	}
}

// handleBroadcast calls the channel's Info handler with a broadcast.
func (c *Context) handleBroadcast(it *item) {
	defer it.out.Release()
	if !it.info.(*subscription).over.Load() {
		it.info = Broadcast{Topic: it.out.Topic, Event: it.out.Event, Payload: it.payload}
		c.handleInfo(it)
	}
}
