package presence

import (
	"sync"

	"github.com/mycelium-rt/mycelium/internal/callback"
)

// Replica holds the presences of one other node, which are shown to clients while the node is up. Its methods are safe
// from any goroutine and take effect in the order of the calls.
type Replica struct {
	tracker *Tracker

	// Taken before the stripe's mu. Presences that are shown are also in their topics, and change under both locks.
	mu       sync.Mutex
	up       bool              // whether presences are to be shown
	shelves  map[string]*shelf // by topic; none is empty
	pending  []batch           // presences that may have to be shown or hidden
	stepping bool              // the rest of pending follows in steps
}

// shelf holds a replica's presences in one topic.
type shelf struct {
	holder
	presences map[refKey]*presence
}

// NewReplica returns an empty replica, which is down.
func (t *Tracker) NewReplica() *Replica {
	return &Replica{tracker: t, shelves: make(map[string]*shelf)}
}

// Join adds a presence. It replaces the one that its meta names as phx_ref_prev. A presence that exists already, or
// that no tracker could have made, is ignored.
func (r *Replica) Join(topic, key, meta string) {
	if !wellFormed(key, meta) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p, isNew := r.shelf(topic).put(key, meta)
	switch {
	case p == nil:
	case p.shown || isNew && r.up:
		r.setMeta(topic, p, meta)
	default:
		p.meta = meta
	}
}

// Leave removes a presence if it exists.
func (r *Replica) Leave(topic, _, ref string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sh := r.shelves[topic]
	if sh == nil {
		return
	}
	p := sh.presences[refKeyOf(ref)]
	if p == nil {
		return
	}
	r.dropPresence(topic, sh, p, refKeyOf(ref))
	if p.shown {
		r.setMeta(topic, p, "")
	}
}

// Up shows the node's presences to clients: at once, or in steps if there are more than clients could take.
func (r *Replica) Up() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setUp(true)
}

// Down hides the node's presences from clients, in the same way. They are kept and may be changed.
func (r *Replica) Down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setUp(false)
}

// Gone hides and forgets the node's presences. No method may be called afterwards.
func (r *Replica) Gone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setUp(false)
	r.shelves = nil
}

// Replace makes the replica equal to a roster. Clients are told of the difference.
func (r *Replica) Replace(by *Roster) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, list := range by.topics {
		sh := r.shelf(topic)
		var joined []*presence
		for _, l := range list {
			p, isNew := sh.put(l.key, l.meta)
			switch {
			case p == nil:
			case p.shown:
				r.setMeta(topic, p, l.meta)
			default:
				p.meta = l.meta
				if isNew && r.up {
					joined = append(joined, p)
				}
			}
		}
		r.later(topic, joined)
	}
	for topic, sh := range r.shelves {
		var left []*presence
		for ref, p := range sh.presences {
			if _, stays := by.topics[topic][ref]; !stays {
				r.dropPresence(topic, sh, p, ref)
				left = append(left, p)
			}
		}
		r.later(topic, left)
	}
	r.beginSteps()
}

// Roster returns a copy of the node's presences, shown or hidden.
func (r *Replica) Roster() *Roster {
	r.mu.Lock()
	defer r.mu.Unlock()
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

// put returns the presence for meta: a new one, or the one that meta replaces. It returns nil if the replica has meta
// already.
func (sh *shelf) put(key, meta string) (p *presence, isNew bool) {
	ref, prev := refKeyOf(refOf(meta)), refKeyOf(prevOf(meta))
	if sh.presences[ref] != nil {
		return nil, false
	}
	p = sh.presences[prev]
	if isNew = p == nil; isNew {
		p = &presence{holder: &sh.holder, entry: &entry{key: key}}
		sh.add(p)
	} else {
		delete(sh.presences, prev)
	}
	sh.presences[ref] = p
	return p, isNew
}

// dropPresence removes p from the lists.
func (r *Replica) dropPresence(topic string, sh *shelf, p *presence, ref refKey) {
	p.dropped = true
	sh.remove(p)
	delete(sh.presences, ref)
	if len(sh.presences) == 0 {
		delete(r.shelves, topic)
	}
}

// setMeta sets the current meta of p; "" hides it.
func (r *Replica) setMeta(topic string, p *presence, meta string) {
	s := r.tracker.stripe(topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	tp := r.tracker.topicOf(s, topic)
	switch {
	case tp == nil:
		return
	case meta == "":
		tp.withdraw(p)
		p.shown = false
	default:
		tp.learn(p, meta)
	}
	r.tracker.settle(s, tp)
}

// topicOf returns a topic, creating it if there is none, or nil if the tracker is closed. The stripe is locked.
func (t *Tracker) topicOf(s *stripe, name string) *topic {
	if s.closed {
		return nil
	}
	tp := s.topics[name]
	if tp == nil {
		diffs, err := t.askDiffs(name)
		if err != nil {
			t.report(name, err)
		}
		tp = t.newTopic(name, diffs)
		s.add(tp)
	}
	return tp
}

// askDiffs is sendsDiffs for a goroutine that is not the application's: it returns a panic as an error.
func (t *Tracker) askDiffs(topic string) (diffs bool, err error) {
	defer callback.Recover("Diffs", &err)
	return t.sendsDiffs(topic), nil
}

// learn gives a presence of another node a meta. Its phx_ref_prev becomes the ref that clients of this node know. They
// may have been told less, because the node was down or this node's window is longer.
func (tp *topic) learn(p *presence, meta string) {
	if !p.shown {
		p.shown, p.meta = true, ""
		tp.enter(p, p.entry.key, withPrev(meta, ""))
		return
	}
	prev := sent(tp, p)
	if prev != "" {
		prev = refOf(prev)
	}
	tp.set(p, withPrev(meta, prev))
}
