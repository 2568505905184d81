package presence

import "github.com/mycelium-rt/mycelium/internal/prepared"

// topic holds the presences of one topic. All of it is guarded by the stripe's mu.
//
// Clients know the state as of the last flushed diff. A presence has two sides, current (the truth) and sent (what
// clients know). If they differ, it is in changes:
//
//	state = { sent(p)    | p in presences, sent(p)    != "" }
//	truth = { current(p) | p in presences, current(p) != "" }
//	state + next diff = truth
//
// Without a window each change is flushed at once, so both are the same whenever the lock is free.
type topic struct {
	// Static after newTopic.
	name       string
	chunkBytes int
	maxPayload int
	diffs      bool // whether diffs are sent

	live        int32 // entries with a current meta
	entries     map[string]*entry
	large       map[*entry]*runs // keys with very many bytes of metas; nil: there was none
	first, last *chunk           // of all entries, in the order in which their keys came
	dirty       []changedEntry   // in the order of their first change since the last flush
	changes     []change
	timer       *windowTimer    // nil until the first window
	state       *prepared.State // presence_state as of the last flush; nil: to be put together
	fetch       *enrichment     // nil without Options.Fetch
}

func (t *Tracker) newTopic(name string, diffs bool) *topic {
	tp := &topic{
		name:       name,
		diffs:      diffs,
		chunkBytes: t.chunkBytes,
		maxPayload: t.maxPayload,
		entries:    make(map[string]*entry),
	}
	if t.fetcher != nil {
		tp.fetch = &enrichment{added: make(map[*entry]addition)}
	}
	return tp
}

// find returns what h has under key, or nil. A key may be tracked by many channels, and a channel may track many keys:
// the search ends with the shorter of the two lists.
func (tp *topic) find(h *holder, key string) *presence {
	e := tp.entries[key]
	if e == nil {
		return nil
	}
	p, own := e.first, h.first
	for p != nil && own != nil {
		if p.holder == h && p.meta != "" {
			return p
		}
		if own.entry == e {
			return own
		}
		p, own = p.next, own.heldNext
	}
	return nil
}

// join adds a presence of h under key.
func (tp *topic) join(h *holder, key, meta string) *presence {
	p := &presence{holder: h}
	h.add(p)
	tp.enter(p, key, meta)
	return p
}

// enter adds p to the truth. If the key has no entry, the earlier entry of p is used again.
func (tp *topic) enter(p *presence, key, meta string) {
	e := tp.entries[key]
	if e == nil {
		if e = p.entry; e == nil {
			e = &entry{key: key}
		}
		tp.entries[key] = e
		tp.place(e)
	}
	p.entry = e
	e.append(p)
	e.live++
	if e.live == 1 {
		tp.live++
	}
	tp.set(p, meta)
}

// leave removes p from its holder and from the truth.
func (tp *topic) leave(p *presence) {
	p.holder.remove(p)
	tp.withdraw(p)
}

// withdraw removes p from the truth; it stays in its entry until clients know.
func (tp *topic) withdraw(p *presence) {
	e := p.entry
	e.live--
	if e.live == 0 {
		tp.live--
	}
	tp.set(p, "")
}

// set sets the current meta of p.
func (tp *topic) set(p *presence, meta string) {
	tp.changed(p)
	p.entry.chunk.size += len(meta) - len(p.meta)
	kept := len(meta) - len(p.meta)
	switch "" {
	case p.meta:
		kept += len(p.entry.key)
	case meta:
		kept -= len(p.entry.key)
	}
	p.holder.keep(kept)
	p.meta = meta
}

// commit makes what clients know the truth of some dirty entries, after the diff that tells them.
func (tp *topic) commit(told []changedEntry) {
	for i := range told {
		e := told[i].entry
		isNew := sent(tp, e.first) == "" // its other presences come after those that clients know
		tp.commitEntry(&told[i])
		e.chunk.committed(tp, e, isNew)
		tp.enlarge(e)
		tp.split(e.chunk)
		if e.first == nil {
			tp.reduce(e)
			tp.forgetAddition(e)
			delete(tp.entries, e.key)
			tp.displace(e)
		}
	}
	tp.forgetChanges(len(told))
	tp.state = nil
}

func (tp *topic) commitEntry(d *changedEntry) {
	e := d.entry
	large := tp.large[e]
	for i := d.first; i != 0; {
		c := &tp.changes[i-1]
		if large != nil { // while sent is what clients knew
			large.committed(tp, c.presence, c.presence.meta)
		}
		e.remove(c.presence)
		if c.presence.meta != "" {
			e.append(c.presence) // phoenix.js appends joined metas to those it has (presence.js, syncDiff)
		}
		c.presence.change = 0
		i = c.next
	}
	e.changes = 0
}
