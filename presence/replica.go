package presence

import "github.com/mycelium-rt/mycelium/internal/callback"

// Replica is the presences of one other node, of which clients are told while the node is up. It is called by one goroutine
// at a time; the tracker and other replicas may be used meanwhile.
//
// Nobody else changes its lists, so they are read without a lock. What is shown is in the topics too, and changes under the
// stripe's lock.
type Replica struct {
	tracker *Tracker
	up      bool
	shelves map[string]*shelf // by topic; none is empty
}

// shelf is what a replica has in one topic.
type shelf struct {
	holder
	presences map[refKey]*presence
}

// portionMost and portionBytes bound how much of a replica is shown or hidden under one hold of the lock. A diff of it is
// smaller than maxPayload.
const (
	portionMost  = 1000
	portionBytes = 128 << 10
)

// NewReplica returns the replica of a node of which nothing is known yet. It
// is down.
func (t *Tracker) NewReplica() *Replica {
	return &Replica{tracker: t, shelves: make(map[string]*shelf)}
}

// news is a meta that a presence gets.
type news struct {
	presence *presence // its meta is empty if it is new
	meta     string
}

// Join adds a presence, in the place of the one that its meta names as phx_ref_prev. One that is there already, and what
// no tracker has made, is ignored.
func (r *Replica) Join(topic, key, meta string) {
	if !wellFormed(key, meta) {
		return
	}
	sh := r.shelf(topic)
	p := sh.put(key, meta)
	if p == nil {
		return
	}
	if !r.up {
		p.meta = meta
		return
	}
	s := r.tracker.stripe(topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	if tp := r.tracker.topicOf(s, topic); tp != nil {
		tp.learn(p, meta)
		r.tracker.settle(s, tp)
	}
}

// Leave removes a presence, if it is there.
func (r *Replica) Leave(topic, _, ref string) {
	sh := r.shelves[topic]
	if sh == nil {
		return
	}
	p := sh.presences[refKeyOf(ref)]
	if p == nil {
		return
	}
	r.drop(topic, sh, p, refKeyOf(ref))
	if !r.up {
		return
	}
	s := r.tracker.stripe(topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	if tp := s.topics[topic]; tp != nil {
		tp.withdraw(p)
		r.tracker.settle(s, tp)
	}
}

// Up shows what the node has to clients.
func (r *Replica) Up() {
	if r.up {
		return
	}
	r.up = true
	for topic, sh := range r.shelves {
		all := make([]news, 0, len(sh.presences))
		for p := sh.first; p != nil; p = p.heldNext {
			all = append(all, news{p, p.meta})
			p.meta = ""
		}
		r.show(topic, all)
	}
}

// Down hides what the node has from clients. It stays, and may be changed.
func (r *Replica) Down() {
	if !r.up {
		return
	}
	for topic, sh := range r.shelves {
		all := make([]*presence, 0, len(sh.presences))
		for p := sh.first; p != nil; p = p.heldNext {
			all = append(all, p)
		}
		r.hide(topic, all)
	}
	r.up = false
}

// Gone forgets the node. Nothing may be called afterwards.
func (r *Replica) Gone() {
	r.Down()
	r.shelves = nil
}

// Replace makes the replica equal to a roster. Clients are told of the difference.
func (r *Replica) Replace(by *Roster) {
	for topic, list := range by.topics {
		sh := r.shelf(topic)
		var fresh []news
		for _, l := range list {
			if p := sh.put(l.key, l.meta); p != nil {
				fresh = append(fresh, news{p, l.meta})
			}
		}
		r.show(topic, fresh)
	}
	for topic, sh := range r.shelves {
		var gone []*presence
		for ref, p := range sh.presences {
			if _, stays := by.topics[topic][ref]; !stays {
				r.drop(topic, sh, p, ref)
				gone = append(gone, p)
			}
		}
		r.hide(topic, gone)
	}
}

// Roster returns a copy of what the node has, shown or hidden.
func (r *Replica) Roster() *Roster {
	roster := &Roster{topics: make(map[string]map[refKey]listed, len(r.shelves))}
	for topic, sh := range r.shelves {
		list := make(map[refKey]listed, len(sh.presences))
		for ref, p := range sh.presences {
			list[ref] = listed{p.entry.key, p.meta}
		}
		roster.topics[topic] = list
	}
	return roster
}

func (r *Replica) shelf(topic string) *shelf {
	sh := r.shelves[topic]
	if sh == nil {
		sh = &shelf{presences: make(map[refKey]*presence)}
		r.shelves[topic] = sh
	}
	return sh
}

// put returns the presence that is to get meta: a new one, or the one that meta replaces. It returns nil if meta is
// there already.
func (sh *shelf) put(key, meta string) *presence {
	ref, prev := refKeyOf(refOf(meta)), refKeyOf(prevOf(meta))
	if sh.presences[ref] != nil {
		return nil
	}
	p := sh.presences[prev]
	if p == nil {
		p = &presence{holder: &sh.holder, entry: &entry{key: key}}
		sh.add(p)
	} else {
		delete(sh.presences, prev)
	}
	sh.presences[ref] = p
	return p
}

// drop takes p out of the lists.
func (r *Replica) drop(topic string, sh *shelf, p *presence, ref refKey) {
	sh.remove(p)
	delete(sh.presences, ref)
	if len(sh.presences) == 0 {
		delete(r.shelves, topic)
	}
}

// show gives presences their metas, and tells clients if the node is up.
func (r *Replica) show(topic string, all []news) {
	if !r.up {
		for _, n := range all {
			n.presence.meta = n.meta
		}
		return
	}
	s := r.tracker.stripe(topic)
	for len(all) > 0 {
		n := portion(len(all), func(i int) int { return len(all[i].meta) })
		s.mu.Lock()
		if tp := r.tracker.topicOf(s, topic); tp != nil {
			for _, n := range all[:n] {
				tp.learn(n.presence, n.meta)
			}
			r.tracker.flush(s, tp)
		}
		s.mu.Unlock()
		all = all[n:]
	}
}

// hide tells clients that presences have left, which keep their metas.
func (r *Replica) hide(topic string, all []*presence) {
	if !r.up {
		return
	}
	s := r.tracker.stripe(topic)
	metas := make([]string, 0, min(len(all), portionMost))
	for len(all) > 0 {
		n := portion(len(all), func(i int) int { return len(all[i].meta) })
		metas = metas[:0]
		s.mu.Lock()
		if tp := s.topics[topic]; tp != nil {
			for _, p := range all[:n] {
				metas = append(metas, p.meta)
				tp.withdraw(p)
			}
			r.tracker.flush(s, tp) // at once: a presence that is shown again must have left before
			for i, p := range all[:n] {
				p.meta = metas[i]
			}
		}
		s.mu.Unlock()
		all = all[n:]
	}
}

// portion returns how many of n presences are handled at once, at least one.
func portion(n int, size func(i int) int) int {
	bytes := 0
	for i := range min(n, portionMost) {
		if bytes += size(i); i > 0 && bytes > portionBytes {
			return i
		}
	}
	return min(n, portionMost)
}

// topicOf returns a topic, a new one if there is none, and nil if the tracker is closed. The stripe is locked.
func (t *Tracker) topicOf(s *stripe, name string) *topic {
	tp := s.topics[name]
	if tp == nil && !s.closed {
		diffs, err := t.askDiffs(name)
		if err != nil {
			t.report(name, err)
		}
		tp = t.newTopic(name, diffs)
		s.add(tp)
	}
	return tp
}

// askDiffs is sendsDiffs for a goroutine that is not the application's: a panic is an error.
func (t *Tracker) askDiffs(topic string) (diffs bool, err error) {
	defer callback.Recover("Diffs", &err)
	return t.sendsDiffs(topic), nil
}

// learn gives a presence of another node a meta. Its phx_ref_prev is what clients of this node know, which may
// have been told less: of a node that was down, or by a window that is longer.
func (tp *topic) learn(p *presence, meta string) {
	if p.meta == "" {
		tp.enter(p, p.entry.key, withPrev(meta, ""))
		return
	}
	prev := sent(tp, p)
	if prev != "" {
		prev = refOf(prev)
	}
	tp.set(p, withPrev(meta, prev))
}
