package presence

import "iter"

// change is a presence that differs from what clients know, until the next flush. It is kept apart from the presence,
// because presences are many and seldom change.
type change struct {
	presence *presence
	sent     string // the meta that clients were told; "": none
	next     int32  // the next change of the same entry; 0: none
}

// changedEntry is an entry with changes. They and change refer to each other by index plus one, so that 0 is none.
type changedEntry struct {
	entry       *entry
	first, last int32 // in topic.changes, in the order of their first change
}

// changesOf yields the changes of some dirty entries.
func (tp *topic) changesOf(entries []changedEntry) iter.Seq[*change] {
	return func(yield func(*change) bool) {
		for i := range entries {
			for at := entries[i].first; at != 0; at = tp.changes[at-1].next {
				if !yield(&tp.changes[at-1]) {
					return
				}
			}
		}
	}
}

// changesKeep is how many changes a topic keeps memory for.
const changesKeep = 64

// changed notes that p is about to differ from what clients know, which is its present meta.
func (tp *topic) changed(p *presence) {
	if p.change != 0 {
		return
	}
	tp.changes = append(tp.changes, change{presence: p, sent: p.meta})
	p.change = int32(len(tp.changes))
	e := p.entry
	if e.changes == 0 {
		tp.dirty = append(tp.dirty, changedEntry{e, p.change, p.change})
		e.changes = int32(len(tp.dirty))
		return
	}
	d := &tp.dirty[e.changes-1]
	tp.changes[d.last-1].next = p.change
	d.last = p.change
}

// forgetChanges is for when clients have been told of so many entries. Those that they were not told of stay, in their order.
func (tp *topic) forgetChanges(told int) {
	if told < len(tp.dirty) {
		tp.keepUntold()
		return
	}
	if cap(tp.changes) > changesKeep {
		tp.dirty, tp.changes = nil, nil
		return
	}
	clear(tp.dirty)
	clear(tp.changes)
	tp.dirty, tp.changes = tp.dirty[:0], tp.changes[:0]
}

func (tp *topic) keepUntold() {
	dirty, changes := tp.dirty, tp.changes
	tp.dirty, tp.changes = nil, nil
	for _, d := range dirty {
		if d.entry.changes == 0 { // commitEntry
			continue
		}
		at := d.first
		d.first = int32(len(tp.changes)) + 1
		for at != 0 {
			c := changes[at-1]
			at = c.next
			if c.next != 0 {
				c.next = int32(len(tp.changes)) + 2
			}
			tp.changes = append(tp.changes, c)
			c.presence.change = int32(len(tp.changes))
		}
		d.last = int32(len(tp.changes))
		tp.dirty = append(tp.dirty, d)
		d.entry.changes = int32(len(tp.dirty))
	}
}
