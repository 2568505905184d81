package presence

import (
	"slices"

	"github.com/mycelium-rt/mycelium/wire"
)

// side picks one of the two things a presence may be written as.
type side func(p *presence) string

func current(p *presence) string { return p.current }
func sent(p *presence) string    { return p.sent }

// appendState appends one side of the topic as {"key":{"metas":[…]},…}.
func (tp *topic) appendState(dst []byte, s side) []byte {
	dst = append(dst, '{')
	start := len(dst)
	for e := tp.first; e != nil; e = e.next {
		open := false
		for p := e.first; p != nil; p = p.next {
			if meta := s(p); meta != "" {
				dst, open = e.appendMeta(dst, meta, start, open), true
			}
		}
		dst = closeEntry(dst, open)
	}
	return append(dst, '}')
}

// appendDirty is appendState of the dirty ones only. No two metas are equal, for each has a ref of its own: of a dirty
// presence current has joined and sent has left, an update being both, or there is neither.
func (tp *topic) appendDirty(dst []byte, s side) []byte {
	dst = append(dst, '{')
	start := len(dst)
	for e := tp.dirtyFirst; e != nil; e = e.dirtyNext {
		open := false
		for p := e.dirtyFirst; p != nil; p = p.dirtyNext {
			if meta := s(p); meta != "" {
				dst, open = e.appendMeta(dst, meta, start, open), true
			}
		}
		dst = closeEntry(dst, open)
	}
	return append(dst, '}')
}

// appendMeta appends one meta of e, and before the first one the key. The first entry begins at start.
func (e *entry) appendMeta(dst []byte, meta string, start int, open bool) []byte {
	if open {
		dst = append(dst, ',')
	} else {
		if len(dst) > start {
			dst = append(dst, ',')
		}
		dst = wire.AppendString(dst, e.key)
		dst = append(dst, `:{"metas":[`...)
	}
	return append(dst, meta...)
}

func closeEntry(dst []byte, open bool) []byte {
	if open {
		dst = append(dst, "]}"...)
	}
	return dst
}

// appendDiff appends the payload of a presence_diff that makes the truth of what clients know. It reports false if there is
// nothing to say.
func (tp *topic) appendDiff(dst []byte) ([]byte, bool) {
	const empty = `{"joins":{},"leaves":{}}`
	start := len(dst)
	dst = append(dst, `{"joins":`...)
	dst = tp.appendDirty(dst, current)
	dst = append(dst, `,"leaves":`...)
	dst = tp.appendDirty(dst, sent)
	dst = append(dst, '}')
	return dst, len(dst)-start > len(empty)
}

// encoded returns the presence_state as of the last flush; it is valid until the next one. It is kept, for everyone
// who joins asks for it, and made again in the same memory once something has changed.
func (tp *topic) encoded() []byte {
	if !tp.fresh {
		tp.state = tp.appendState(tp.state[:0], sent)
		if cap(tp.state) > 4*len(tp.state) {
			tp.state = slices.Clone(tp.state) // the topic was once much larger
		}
		tp.fresh = true
	}
	return tp.state
}
