package presence

import "github.com/mycelium-rt/mycelium/wire"

// entry is the presences of one key. One without any is dropped at the next flush.
type entry struct {
	chunk       *chunk
	key         string
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

// side picks one of the two things a presence may be written as.
type side func(p *presence) string

func current(p *presence) string { return p.current }
func sent(p *presence) string    { return p.sent }

// commit makes what clients know of e the truth.
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

// appendTo appends one side of e as "key":{"metas":[…]}, with a comma before it if asked to; nothing if that side is
// without metas.
func (e *entry) appendTo(dst []byte, s side, comma bool) []byte {
	open := false
	for p := e.first; p != nil; p = p.next {
		if meta := s(p); meta != "" {
			dst, open = e.appendMeta(dst, meta, comma, open), true
		}
	}
	return closeEntry(dst, open)
}

// appendDirty is appendTo of the dirty ones only.
func (e *entry) appendDirty(dst []byte, s side, comma bool) []byte {
	open := false
	for p := e.dirtyFirst; p != nil; p = p.dirtyNext {
		if meta := s(p); meta != "" {
			dst, open = e.appendMeta(dst, meta, comma, open), true
		}
	}
	return closeEntry(dst, open)
}

// appendMeta appends one meta, and before the first one the key.
func (e *entry) appendMeta(dst []byte, meta string, comma, open bool) []byte {
	if open {
		return append(append(dst, ','), meta...)
	}
	if comma {
		dst = append(dst, ',')
	}
	dst = wire.AppendString(dst, e.key)
	dst = append(dst, `:{"metas":[`...)
	return append(dst, meta...)
}

func closeEntry(dst []byte, open bool) []byte {
	if open {
		dst = append(dst, "]}"...)
	}
	return dst
}
