package presence

// entry holds the presences of one key. An empty entry is dropped at the next
// flush. entry and presence are kept small, because there is one of each for
// every client.
type entry struct {
	chunk       *chunk
	key         string
	first, last *presence // in the order of their last flushed change, as phoenix.js has them
	live        int32     // presences with a current meta
	changes     int32     // in topic.dirty, plus one; 0: none
}

// presence is what one channel has tracked under one key, on this node or on another.
type presence struct {
	entry      *entry
	holder     *holder
	prev, next *presence // in entry
	heldPrev   *presence // in holder
	heldNext   *presence
	meta       string // the current meta, encoded; "": untracked. A hidden presence keeps it.
	change     int32  // in topic.changes, plus one; 0: clients know

	// For presences of another node, guarded by Replica.mu.
	shown   bool // it is in its topic
	dropped bool // no longer in its replica
}

// size is what e counts in its chunk, without what Fetch has added.
func (e *entry) size() int {
	size := len(e.key) + entryOverhead
	for p := e.first; p != nil; p = p.next {
		size += len(p.meta)
	}
	return size
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
