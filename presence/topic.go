package presence

// topic is the presences of one topic. All of it is guarded by the stripe's mu.
//
// Clients know the state as of the last flushed diff. A presence has both sides, current (the truth) and sent (what
// clients know), and what differs is dirty:
//
//	state = { sent  | p in presences, p.sent  != "" }
//	truth = { current | p in presences, p.current != "" }
//	state + next diff = truth
//
// Without a window each change is flushed at once, so both are the same whenever the lock is free.
type topic struct {
	name  string
	diffs bool // whether diffs are sent

	entries     map[string]*entry
	first, last *entry              // all entries, in the order in which their keys came
	present     map[ident]*presence // those with a current meta
	live        int                 // entries with a current meta
	dirtyFirst  *entry              // entries with something dirty, in the order of change
	dirtyLast   *entry
	timer       *windowTimer // nil until the first window
	state       []byte       // presence_state as of the last flush, if fresh
	fresh       bool
}

// ident tells presences apart: a channel tracks a key once.
type ident struct {
	channel Channel
	key     string
}

// entry is the presences of one key. One without any is dropped at the next flush.
type entry struct {
	topic       *topic
	key         string
	prev, next  *entry    // in topic
	first, last *presence // in the order of their last flushed change, as phoenix.js has them
	live        int       // presences with a current meta
	dirtyFirst  *presence // in the order of their first change since the last flush
	dirtyLast   *presence
	dirtyNext   *entry // in topic
}

// presence is what one channel has tracked under one key.
type presence struct {
	entry      *entry
	owner      *owner
	prev, next *presence // in entry
	ownPrev    *presence // in owner, while current != ""
	ownNext    *presence
	current    string // encoded meta, "": untracked
	sent       string // what clients have been told, "": nothing
	dirty      bool   // listed in entry's dirty ones
	dirtyNext  *presence
}

func (t *Tracker) newTopic(name string) *topic {
	return &topic{
		name:    name,
		diffs:   t.options.Diffs == nil || t.options.Diffs(name),
		entries: make(map[string]*entry),
		present: make(map[ident]*presence),
	}
}

// join adds a presence of o under key; its current meta is for the caller to set.
func (tp *topic) join(o *owner, key string) *presence {
	e := tp.entries[key]
	if e == nil {
		e = &entry{topic: tp, key: key, prev: tp.last}
		tp.entries[key] = e
		if tp.last == nil {
			tp.first = e
		} else {
			tp.last.next = e
		}
		tp.last = e
	}
	p := &presence{entry: e, owner: o, ownNext: o.first}
	if o.first != nil {
		o.first.ownPrev = p
	}
	o.first = p
	tp.present[ident{o.channel, key}] = p
	e.append(p)
	e.live++
	if e.live == 1 {
		tp.live++
	}
	return p
}

// leave takes p out of the truth; it stays in its entry until clients know.
func (tp *topic) leave(p *presence) {
	e, o := p.entry, p.owner
	delete(tp.present, ident{o.channel, e.key})
	if p.ownPrev == nil {
		o.first = p.ownNext
	} else {
		p.ownPrev.ownNext = p.ownNext
	}
	if p.ownNext != nil {
		p.ownNext.ownPrev = p.ownPrev
	}
	p.ownPrev, p.ownNext = nil, nil
	p.current = ""
	e.live--
	if e.live == 0 {
		tp.live--
	}
	tp.changed(p)
}

// changed notes that p may differ from what clients know.
func (tp *topic) changed(p *presence) {
	if p.dirty {
		return
	}
	p.dirty = true
	e := p.entry
	if e.dirtyFirst != nil {
		e.dirtyLast.dirtyNext = p
		e.dirtyLast = p
		return
	}
	e.dirtyFirst, e.dirtyLast = p, p
	if tp.dirtyFirst == nil {
		tp.dirtyFirst = e
	} else {
		tp.dirtyLast.dirtyNext = e
	}
	tp.dirtyLast = e
}

// commit makes what clients know the truth, after the diff that tells them.
func (tp *topic) commit() {
	for e := tp.dirtyFirst; e != nil; {
		e.commit()
		if e.first == nil {
			tp.drop(e)
		}
		e, e.dirtyNext = e.dirtyNext, nil
	}
	tp.dirtyFirst, tp.dirtyLast = nil, nil
	tp.fresh = false
}

func (e *entry) commit() {
	for p := e.dirtyFirst; p != nil; {
		e.remove(p)
		if p.current != "" {
			e.append(p) // phoenix.js puts joined metas behind those it has (presence.js, syncDiff)
		}
		p.sent, p.dirty = p.current, false
		p, p.dirtyNext = p.dirtyNext, nil
	}
	e.dirtyFirst, e.dirtyLast = nil, nil
}

// drop removes an entry that has no presences.
func (tp *topic) drop(e *entry) {
	delete(tp.entries, e.key)
	if e.prev == nil {
		tp.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		tp.last = e.prev
	} else {
		e.next.prev = e.prev
	}
}

func (e *entry) append(p *presence) {
	p.prev, p.next = e.last, nil
	if e.last == nil {
		e.first = p
	} else {
		e.last.next = p
	}
	e.last = p
}

func (e *entry) remove(p *presence) {
	if p.prev == nil {
		e.first = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next == nil {
		e.last = p.prev
	} else {
		p.next.prev = p.prev
	}
	p.prev, p.next = nil, nil
}
