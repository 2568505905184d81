package presence

import (
	"maps"
	"slices"
)

// Replicator connects a tracker with those of other nodes. Each node tells the others of
// its own presences only. So every presence has one writer, and there is nothing to merge.
type Replicator interface {
	// Open is called by New. Until Close, the replicator gives t the presences of other nodes, through one [Replica] for
	// each node. The number node becomes part of each phx_ref; no two live nodes may have the same.
	Open(t *Tracker) (node uint16, err error)
	// Join and Leave tell the other nodes of a presence of this node, in the order in which this node's clients are told. A
	// Join whose meta has a phx_ref_prev replaces that presence. Both may be called with a lock held: they must not block
	// and must not call the tracker.
	Join(topic, key, meta string)
	Leave(topic, key, ref string)
	// Close ends what Open began. Once it has returned, the replicator calls no Replica of t. Join and Leave
	// may still be called. Close may be called more than once.
	Close(t *Tracker)
}

// replicate tells other nodes what clients of this node are about to be told of its own presences. Joins come before
// leaves, as in a diff.
func (t *Tracker) replicate(tp *topic, told []changedEntry) {
	for c := range tp.changesOf(told) {
		if p := c.presence; p.meta != "" && p.holder.isOwn() {
			t.options.Replicator.Join(tp.name, p.entry.key, p.meta)
		}
	}
	for c := range tp.changesOf(told) {
		if c.sent != "" && c.presence.meta == "" && c.presence.holder.isOwn() {
			t.options.Replicator.Leave(tp.name, c.presence.entry.key, refOf(c.sent))
		}
	}
}

// Own calls yield with each presence of this node's channels that other nodes were told of, topic by topic and in order. A
// presence that changes meanwhile may be left out, or be yielded as it was, or twice. yield is called without a lock.
func (t *Tracker) Own(yield func(topic, key, meta string)) {
	var names []string
	for i := range t.stripes {
		s := &t.stripes[i]
		s.mu.Lock()
		names = slices.AppendSeq(names, maps.Keys(s.topics))
		s.mu.Unlock()
	}
	slices.Sort(names)
	for _, name := range names {
		t.ownIn(t.stripe(name), name, yield)
	}
}

// ownIn is Own for one topic, a chunk at a time. It goes backwards: a chunk is merged into the one before it, and the
// first keys of one that is split move to a new one before it, so no presence can be missed.
func (t *Tracker) ownIn(s *stripe, name string, yield func(topic, key, meta string)) {
	var own []listed
	s.mu.Lock()
	defer s.mu.Unlock()
	tp := s.topics[name]
	if tp == nil {
		return
	}
	for c := tp.last; c != nil; c = c.prev {
		own = own[:0]
		for _, e := range c.entries {
			for p := e.first; p != nil; p = p.next {
				if meta := sent(tp, p); meta != "" && p.holder.isOwn() {
					own = append(own, listed{e.key, meta})
				}
			}
		}
		s.mu.Unlock()
		for _, l := range own {
			yield(name, l.key, l.meta)
		}
		s.mu.Lock()
	}
}
