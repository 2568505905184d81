package channels

import (
	"slices"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/dispatch"
)

// socketSubscription is the place of a socket in a topic that the server has
// subscribed it to: see [Audience.Subscribe]. All of it belongs to the socket's loop.
type socketSubscription struct {
	socket *Socket
	topic  string
	sub    dispatch.Subscription
}

// Subscription implements dispatch.Subscriber.
func (s *socketSubscription) Subscription() *dispatch.Subscription { return &s.sub }

// subscribe subscribes the socket to a topic, unless it is subscribed already.
func (s *Socket) subscribe(topic string) {
	d := s.perLoop().fillDirectory()
	list := d.subscribed[s]
	if slices.ContainsFunc(list, func(o *socketSubscription) bool { return o.topic == topic }) {
		return
	}
	if n := s.mount.limits.TopicsPerChannel; n >= 0 && len(list) >= n {
		s.line(zerolog.WarnLevel, "socket not subscribed by the server: too many topics").Str("topic", topic).Int("topics_per_channel", n).Write()
		return
	}
	if d.subscribed == nil {
		d.subscribed = make(map[*Socket][]*socketSubscription)
	}
	sub := &socketSubscription{socket: s, topic: topic}
	s.endpoint.pubsub.Subscribe(s.loop.Index(), topic, sub)
	d.subscribed[s] = append(list, sub)
}

// unsubscribe ends a subscription, if there is one.
func (s *Socket) unsubscribe(topic string) {
	d := s.perLoop().directory
	if d == nil {
		return
	}
	list := d.subscribed[s]
	i := slices.IndexFunc(list, func(o *socketSubscription) bool { return o.topic == topic })
	if i < 0 {
		return
	}
	s.endpoint.pubsub.Unsubscribe(s.loop.Index(), list[i])
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(d.subscribed, s)
		return
	}
	d.subscribed[s] = list
}

// unsubscribeAll ends all subscriptions of a socket that closes.
func (d *directory) unsubscribeAll(s *Socket) {
	for _, sub := range d.subscribed[s] {
		s.endpoint.pubsub.Unsubscribe(s.loop.Index(), sub)
	}
	delete(d.subscribed, s)
}

// dispatch sends a broadcast to a client that has not joined its topic. Presences and
// marks make sense only to clients that have joined it.
func (s *socketSubscription) dispatch(b *broadcast, sent *sending) {
	if b.mark || b.state != nil || s.socket.hasJoined(s.topic) {
		return
	}
	if f := sent.frames.TakeFrame(s.socket.key); f != nil {
		sent.queue(s.socket, f)
	} else {
		s.socket.transport.undeliverable()
	}
}

// hasJoined reports whether a channel of the socket gets the broadcasts of a topic.
func (s *Socket) hasJoined(topic string) bool {
	t := &s.channels
	joins := func(c *Context) bool { return c.life.view == joined && c.topic == topic }
	if t.first != nil && joins(t.first) {
		return true
	}
	return t.more != nil && slices.ContainsFunc(t.more.list, joins)
}
