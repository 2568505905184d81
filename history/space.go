package history

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Space has the recorded messages of the topics of one endpoint. Its methods are
// safe from any goroutine.
type Space struct {
	// Static after construction.
	store *Store
	name  string

	logs      atomic.Pointer[logs]
	rules     atomic.Pointer[rules]
	durable   atomic.Bool // one of the rules is durable
	marker    marker
	evicted   atomic.Uint64
	receivers atomic.Pointer[[]*Receiver]         // replaced as a whole
	unruled   losses                              // of topics that no rule matches any more
	attached  sync.Mutex                          // held while receivers changes
	stripes   atomic.Pointer[[stripeCount]stripe] // nil until there are rules
}

// stripeCount is the number of locks of a space. The lock of a stripe is shared by all
// its topics, so that topics without recorded messages take no memory.
const stripeCount = 32

type stripe struct {
	mu    sync.Mutex
	rings map[string]*ring // guarded by mu; nil: there are none
	// What was erased in a shared space, by topic, oldest first. Guarded by mu; nil: nothing.
	erasures map[string][]erasure
}

func newSpace(s *Store, name string) *Space {
	sp := &Space{store: s, name: name}
	sp.logs.Store(s.own)
	sp.rules.Store(&rules{newPending()})
	return sp
}

// position returns the position of a client that has everything. The lock of its topic is
// held.
func (sp *Space) position() Position { return sp.logs.Load().position(sp.store.now()) }

// Passed returns a position whose messages have all been delivered, on every topic.
// [Space.Read] does the same for one topic.
func (sp *Space) Passed() Position {
	p := sp.position()
	stripes := sp.all()
	for i := range stripes { // a message that has its number is delivered before its topic is unlocked
		st := &stripes[i]
		st.mu.Lock()
		st.mu.Unlock() //nolint:staticcheck // SA2001: see above
	}
	return p
}

// Name returns the name of the space.
func (sp *Space) Name() string { return sp.name }

// SetRules replaces the rules. Topics that no rule matches lose their messages. Clients that were on a topic before a
// rule has it are told that messages have expired: those of the time without a rule were not recorded. If a rule
// is durable and the store has no [Durable], it returns ErrNotDurable and changes nothing.
func (sp *Space) SetRules(list []Rule) error {
	var made rules
	durable := false
	pending := slices.ContainsFunc(*sp.rules.Load(), func(r *rule) bool { return r.pending })
	floor, lost := sp.forgotten()
	for i, r := range list {
		one, err := newRule(r)
		if err != nil {
			return fmt.Errorf("rule %d: %w", i+1, err)
		}
		if one.forget(floor, lost); !pending && !sp.covers(r.Topics) {
			one.forget(sp.logs.Load().gap(sp.store.now()), sp.store.now().UnixMilli())
		}
		made = append(made, one)
		durable = durable || r.Durable
	}
	if durable && sp.store.durable == nil {
		return ErrNotDurable
	}
	sp.rules.Store(&made)
	sp.durable.Store(durable)
	if durable {
		sp.store.durable.Open()
		if pending {
			sp.noteStreamLoss()
		}
	}
	sp.sweep()
	return nil
}

// covers reports whether the present rules have all of these patterns of topics.
func (sp *Space) covers(patterns []string) bool {
	had := func(pattern string) bool {
		return slices.ContainsFunc(*sp.rules.Load(), func(r *rule) bool {
			return len(r.Topics) == 0 || slices.Contains(r.Topics, "*") || slices.Contains(r.Topics, pattern)
		})
	}
	if len(patterns) == 0 {
		patterns = []string{"*"}
	}
	return !slices.ContainsFunc(patterns, func(pattern string) bool { return !had(pattern) })
}

// forgotten returns what removed rings have lost, under any rule and without one.
func (sp *Space) forgotten() (floor marks, lost int64) {
	floor, lost = sp.unruled.forgotten()
	for _, r := range *sp.rules.Load() {
		f, l := r.forgotten()
		floor.raiseAll(f)
		lost = max(lost, l)
	}
	return floor, lost
}

// Rules returns the rules, with their defaults filled in.
func (sp *Space) Rules() []Rule {
	var list []Rule
	for _, r := range *sp.rules.Load() {
		if !r.pending {
			list = append(list, r.Rule)
		}
	}
	return list
}

// Records reports whether an event on a topic is recorded.
func (sp *Space) Records(topic, event string) bool {
	return sp.rules.Load().records(topic, event) != nil
}

// Keeps returns the rule for a topic; ok is false if there is none.
func (sp *Space) Keeps(topic string) (r Rule, ok bool) {
	if one := sp.rules.Load().of(topic); one != nil && !one.pending {
		return one.Rule, true
	}
	return Rule{}, false
}

// stripe returns the stripe of a topic. It is an empty one, not kept, while the space has
// neither rules nor messages.
func (sp *Space) stripe(topic string) *stripe {
	all := sp.stripes.Load()
	if all == nil {
		if len(*sp.rules.Load()) == 0 {
			return new(stripe)
		}
		sp.stripes.CompareAndSwap(nil, new([stripeCount]stripe))
		all = sp.stripes.Load()
	}
	return &all[stripeOf(topic)]
}

// stripeOf returns the number of a topic's stripe. It is the same in each run, so that
// simulations can be repeated; topics of one stripe only share a lock.
func stripeOf(topic string) uint64 {
	const odd = 0x9e3779b97f4a7c15
	h := uint64(len(topic))
	for ; len(topic) >= 8; topic = topic[8:] {
		h = (h ^ binary.LittleEndian.Uint64([]byte(topic[:8]))) * odd
		h ^= h >> 32
	}
	for i := range len(topic) {
		h = (h ^ uint64(topic[i])) * odd
	}
	return h >> 40 % stripeCount
}

// lock locks a stripe.
func (sp *Space) lock(st *stripe) {
	if sp.store.pause != nil {
		sp.store.pause()
	}
	st.mu.Lock()
}

// all returns the stripes, none if nothing was ever recorded.
func (sp *Space) all() []stripe {
	if all := sp.stripes.Load(); all != nil {
		return all[:]
	}
	return nil
}

// Record records a message, whose payload is copied, and then calls deliver. It
// sets the message's log, number and time. Both happen under the lock of the
// topic, under which [Space.Read] reads: what is recorded later is also delivered
// later. deliver must not block, and must not call the space.
//
// If the space is shared and the message cannot be sent to other nodes, it is not
// recorded: deliver is told so, and Record returns the error.
func (sp *Space) Record(topic string, m *Message, deliver func(recorded bool)) error {
	s, l := sp.store, sp.logs.Load()
	m.Time = s.now()
	st := sp.stripe(topic)
	sp.lock(st)
	r := sp.ringFor(st, topic, m.Event)
	var err error
	if r != nil {
		if err = l.number(sp.name, topic, m); err == nil {
			sp.put(r, m, m.Time)
		}
	}
	recorded := r != nil && err == nil
	deliver(recorded)
	if recorded {
		sp.mark(r, m.Time)
	}
	st.mu.Unlock()
	s.makeRoom()
	return err
}

// put adds a message to a ring. The stripe's lock is held.
func (sp *Space) put(r *ring, m *Message, now time.Time) {
	s := sp.store
	grown := r.add(m)
	before := r.count
	freed := r.trim(now)
	if grown != freed {
		s.bytes.Add(grown - freed)
	}
	s.stats.messages.Add(int64(1 + r.count - before))
	s.stats.recorded.Add(1)
	if r.count < before {
		s.stats.expired.Add(uint64(before - r.count))
	}
}

// ringFor returns the ring for an event on a topic with its present rule, and makes
// it if there is none; nil if the event is not recorded. The stripe's lock is held.
func (sp *Space) ringFor(st *stripe, topic, event string) *ring {
	rule := sp.rules.Load().records(topic, event)
	r := st.rings[topic]
	switch {
	case rule == nil:
		return nil
	case r != nil:
		r.follow(rule)
		return r
	}
	r = &ring{topic: strings.Clone(topic), rule: rule, memory: ringMemory(topic)}
	r.floor, r.lost = rule.forgotten()
	r.trimmed = r.floor.of(sp.store.stream.log())
	if st.rings == nil {
		st.rings = make(map[string]*ring)
	}
	st.rings[r.topic] = r
	sp.store.bytes.Add(r.memory)
	sp.store.stats.topics.Add(1)
	sp.store.startSweeping()
	return r
}

// remove removes a ring; what it has lost is noted in the rule. The stripe's lock is
// held.
func (sp *Space) remove(st *stripe, r *ring) {
	rule := r.rule
	if now := sp.rules.Load().of(r.topic); rule == pendingStored && now != nil {
		rule = now
	}
	rule.forget(r.floor, r.lost)
	delete(st.rings, r.topic)
	if len(st.rings) == 0 {
		st.rings = nil // gives its memory back
	}
	sp.store.bytes.Add(-r.memory)
	sp.store.stats.topics.Add(-1)
	sp.store.stats.messages.Add(int64(-r.count))
}

// sweep drops what is too old, the rings that are then empty, and those of topics
// that are no longer recorded.
func (sp *Space) sweep() {
	now := sp.store.now()
	stripes := sp.all()
	for i := range stripes {
		st := &stripes[i]
		sp.lock(st)
		for topic, r := range st.rings {
			rule := sp.rules.Load().of(topic)
			if rule != nil {
				r.follow(rule)
				sp.expire(r, now)
				sp.trimStored(r, now, r.count == 0)
			} else if d := sp.store.durable; r.stored && d != nil {
				d.Trim(sp.name, topic, sp.store.StreamHead()+1)
			}
			switch {
			case rule == nil:
				sp.empty(st, r)
				sp.unruled.forget(r.floor, r.lost)
			case r.count == 0 && !r.due:
				sp.remove(st, r)
			}
		}
		sp.store.addErasures(st.forgetErasures(*sp.rules.Load(), now, false))
		st.mu.Unlock()
	}
}

// expire drops what a ring's rule no longer permits. The stripe's lock is held.
func (sp *Space) expire(r *ring, now time.Time) {
	before := r.count
	if freed := r.trim(now); freed != 0 {
		sp.store.bytes.Add(-freed)
	}
	if n := before - r.count; n > 0 {
		sp.store.stats.messages.Add(int64(-n))
		sp.store.stats.expired.Add(uint64(n))
	}
}

// evictFrom is how many rings are compared to find one with old messages.
const evictFrom = 8

// evict drops the oldest messages of one ring of a stripe: of a few rings, the one whose
// first message is the oldest. It reports whether there was a ring.
func (sp *Space) evict(st *stripe) bool {
	st.mu.Lock() // without a pause, in which a simulation might record more than is dropped
	defer st.mu.Unlock()
	var victim *ring
	var oldest int64
	tried := 0
	for _, r := range st.rings { // in a random order
		if tried++; tried > evictFrom {
			break
		}
		at := int64(0)
		if r.count > 0 {
			k, _ := r.oldest()
			at = k.ms
		}
		if victim == nil || at < oldest || at == oldest && r.topic < victim.topic {
			victim, oldest = r, at
		}
	}
	if victim == nil {
		return false
	}
	dropped, freed := victim.dropBlock()
	sp.store.bytes.Add(-freed)
	sp.store.stats.messages.Add(int64(-dropped))
	sp.store.stats.evicted.Add(uint64(dropped))
	sp.evicted.Add(uint64(dropped))
	if victim.count == 0 {
		sp.remove(st, victim)
	}
	return true
}

// Clear drops all messages of the space.
func (sp *Space) Clear() {
	stripes := sp.all()
	for i := range stripes {
		st := &stripes[i]
		sp.lock(st)
		for _, r := range st.rings {
			sp.empty(st, r)
		}
		sp.store.addErasures(st.forgetErasures(nil, time.Time{}, true))
		st.mu.Unlock()
	}
}

// empty drops all messages of a ring and removes it. The stripe's lock is held.
func (sp *Space) empty(st *stripe, r *ring) {
	for r.count > 0 {
		sp.store.bytes.Add(-r.drop())
		sp.store.stats.messages.Add(-1)
	}
	sp.remove(st, r)
}
