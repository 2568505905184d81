package dispatch

import "sync/atomic"

// Subscriber gets the broadcasts of a topic. It belongs to one shard.
type Subscriber interface {
	// Subscription returns the subscriber's embedded Subscription, always the same one.
	Subscription() *Subscription
}

// Subscription is a subscriber's place in its topic. It is embedded in the subscriber, so that subscribing does not
// allocate. The zero Subscription is not subscribed. It must be used only on the shard's executor.
type Subscription struct {
	group *group // nil: not subscribed
	index int    // group.subs[index] is this subscriber
}

// Active reports whether the subscriber is subscribed.
func (s *Subscription) Active() bool { return s.group != nil }

// Topic returns the topic subscribed to, or "". All subscribers of the topic share the string, which may be kept.
func (s *Subscription) Topic() string {
	if s.group == nil {
		return ""
	}
	return s.group.topic
}

// group holds the subscribers of one topic on one shard. It exists while there are any.
//
// Invariant, on the shard's executor: for all i, subs[i].Subscription() == {group, i}.
type group struct {
	// Static after the group has been added to the index.
	topic string // the index's copy, one per topic
	shard *shard

	// Owned by the shard's executor.
	subs []Subscriber

	// Guarded by the mu of the index's stripe.
	announced int32 // by PubSub.Announce
	shown     bool  // the shard has the group, not only the index

	size atomic.Int64 // len(subs), written by the executor, read by any goroutine
}

// shrinkAbove is the capacity above which a group gives memory back, in subscribers: below it there is nothing to gain.
const shrinkAbove = 64

// add appends s.
func (g *group) add(s Subscriber) {
	*s.Subscription() = Subscription{group: g, index: len(g.subs)}
	g.subs = append(g.subs, s)
	g.size.Store(int64(len(g.subs)))
}

// remove removes the subscriber at i by moving the last one into its place, in constant time: subscribers of a topic
// have no order.
func (g *group) remove(i int) {
	last := len(g.subs) - 1
	*g.subs[i].Subscription() = Subscription{}
	if i != last {
		g.subs[i] = g.subs[last]
		g.subs[i].Subscription().index = i
	}
	g.subs[last] = nil
	g.subs = g.subs[:last]
	if c := cap(g.subs); c >= shrinkAbove && last <= c/4 {
		// Halving at a quarter keeps the cost per call constant on average, as growing by append does.
		g.subs = append(make([]Subscriber, 0, c/2), g.subs...)
	}
	g.size.Store(int64(last))
}
