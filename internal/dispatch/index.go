package dispatch

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync"
)

// defaultStripes is the number of locks of the index: a power of two, several per core, so that broadcasts to different
// topics seldom share a cache line.
const defaultStripes = 64

// index knows for each topic the groups that have subscribers, one per interested shard. Shards write to it only when a
// group becomes non-empty or empty; broadcasters read it. If subscribers of a shard are only announced, the index has
// an empty group that the shard itself does not know.
type index struct {
	// Static after init.
	seed maphash.Seed
	link *link // told of the node's first and last group of a topic; nil: single node

	stripes []stripe // their number is a power of two
}

type stripe struct {
	mu     sync.RWMutex
	topics topicMap[*interest] // guarded by mu
	_      [64 - 40]byte       // a cache line each, so that readers of neighbours do not contend
}

// interest is one topic that has subscribers on this node.
type interest struct {
	topic  string   // static
	groups []*group // guarded by the stripe's mu; never empty, at most one per shard
}

func (x *index) init(stripes int, l *link) {
	if stripes == 0 {
		stripes = defaultStripes
	}
	x.seed = maphash.MakeSeed()
	x.link = l
	x.stripes = make([]stripe, stripes)
}

func (x *index) stripe(topic string) *stripe {
	return &x.stripes[maphash.String(x.seed, topic)&uint64(len(x.stripes)-1)]
}

// add adds g as a group of topic, and sets its topic to the index's copy.
func (x *index) add(topic string, g *group) {
	s := x.stripe(topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := x.interestIn(s, topic)
	g.topic, g.shown = t.topic, true
	if i := t.of(g.shard); i >= 0 {
		g.announced = t.groups[i].announced
		t.groups[i] = g
		return
	}
	t.groups = append(t.groups, g)
}

// remove removes g, which has become empty.
func (x *index) remove(g *group) {
	s := x.stripe(g.topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.topics.m[g.topic]
	i := slices.Index(t.groups, g)
	if g.announced > 0 {
		t.groups[i] = &group{topic: g.topic, shard: g.shard, announced: g.announced}
		return
	}
	x.dropGroup(s, t, i)
}

// announce adds n, which may be negative, to the announced subscribers of topic on a shard.
func (x *index) announce(topic string, shard *shard, n int32) {
	s := x.stripe(topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := x.interestIn(s, topic)
	i := t.of(shard)
	if i < 0 {
		i = len(t.groups)
		t.groups = append(t.groups, &group{topic: t.topic, shard: shard})
	}
	g := t.groups[i]
	if g.announced += n; g.announced == 0 && !g.shown {
		x.dropGroup(s, t, i)
	}
}

// interestIn returns the interest in topic, creating it if there is none; the stripe is locked.
func (x *index) interestIn(s *stripe, topic string) *interest {
	t := s.topics.m[topic]
	if t == nil {
		t = &interest{topic: strings.Clone(topic)}
		s.topics.set(t.topic, t)
		if x.link != nil {
			// Under the lock, so that the bus hears of changes to one topic in their order.
			x.link.interest(t.topic, true)
		}
	}
	return t
}

// dropGroup removes a group, and with the last group the interest; the stripe is locked.
func (x *index) dropGroup(s *stripe, t *interest, i int) {
	t.groups = slices.Delete(t.groups, i, i+1)
	if len(t.groups) > 0 {
		return
	}
	s.topics.delete(t.topic)
	if x.link != nil {
		x.link.interest(t.topic, false)
	}
}

// of returns the index of a shard's group, -1 if it has none; the stripe's mu is held.
func (t *interest) of(shard *shard) int {
	return slices.IndexFunc(t.groups, func(g *group) bool { return g.shard == shard })
}

// lookup appends the groups of topic to dst.
func (x *index) lookup(dst []*group, topic string) []*group {
	s := x.stripe(topic)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if t := s.topics.m[topic]; t != nil {
		dst = append(dst, t.groups...)
	}
	return dst
}

// wanted reports whether topic has a group.
func (x *index) wanted(topic string) bool {
	s := x.stripe(topic)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.topics.m[topic] != nil
}

func (x *index) subscribers(topic string) int {
	s := x.stripe(topic)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if t := s.topics.m[topic]; t != nil {
		return t.size()
	}
	return 0
}

// all yields each topic and its size, a stripe at a time.
func (x *index) all(yield func(string, int) bool) {
	type row struct {
		topic string
		size  int
	}
	var rows []row
	for i := range x.stripes {
		s := &x.stripes[i]
		s.mu.RLock()
		rows = rows[:0]
		for _, t := range s.topics.m {
			rows = append(rows, row{t.topic, t.size()})
		}
		s.mu.RUnlock()
		for _, r := range rows {
			if !yield(r.topic, r.size) {
				return
			}
		}
	}
}

// size returns the number of subscribers on all shards; the stripe's mu is held.
func (t *interest) size() int {
	n := 0
	for _, g := range t.groups {
		n += int(g.size.Load())
	}
	return n
}
