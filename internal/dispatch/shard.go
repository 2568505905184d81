package dispatch

import (
	"fmt"
	"sync"
)

// shard is one executor's subscribers.
type shard struct {
	// Static after New.
	index    int
	executor Executor
	pubsub   *PubSub

	// Owned by the executor.
	groups topicMap[*group] // none is empty
}

func (s *shard) subscribe(topic string, sub Subscriber) {
	if sub.Subscription().Active() {
		s.unsubscribe(sub)
	}
	if g := s.groups.m[topic]; g != nil {
		g.add(sub)
		return
	}
	g := &group{shard: s}
	g.add(sub)
	// The group is complete before the index shows it: a broadcaster that finds it also finds its subscriber.
	s.pubsub.index.add(topic, g)
	s.groups.set(g.topic, g)
}

func (s *shard) unsubscribe(sub Subscriber) {
	at := sub.Subscription()
	g := at.group
	if g == nil {
		return
	}
	if g.shard != s {
		// Continuing would race with the other executor and corrupt its group.
		panic(fmt.Sprintf("pubsub: unsubscribe on shard %d of a subscriber of shard %d", s.index, g.shard.index))
	}
	g.remove(at.index)
	if len(g.subs) == 0 {
		s.groups.delete(g.topic)
		s.pubsub.index.remove(g)
	}
}

// post queues a delivery on the executor. It takes over one reference to m.
func (s *shard) post(topic string, m Message, from any) {
	d := deliveries.Get().(*delivery)
	d.shard, d.topic, d.message, d.from = s, topic, m, from
	if !s.executor.Post(d) {
		d.recycle()
		m.Release()
	}
}

// delivery is a broadcast on its way to one shard.
type delivery struct {
	shard   *shard
	topic   string
	message Message
	from    any
}

var deliveries = sync.Pool{New: func() any { return new(delivery) }}

// Run dispatches on the shard's executor to the present subscribers. The group is looked up by topic, because a group
// that has become empty may have been replaced since.
func (d *delivery) Run() {
	s, topic, m, from := d.shard, d.topic, d.message, d.from
	d.recycle()
	defer m.Release() // even if a subscriber of the program ends the goroutine
	if g := s.groups.m[topic]; g != nil {
		s.pubsub.dispatcher.Dispatch(g.subs[:len(g.subs):len(g.subs)], from, m)
	}
}

func (d *delivery) recycle() {
	*d = delivery{}
	deliveries.Put(d)
}
