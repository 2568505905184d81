package presence

import "github.com/mycelium-rt/mycelium/wire"

// The empty object, and the braces of any other.
var (
	emptyObject = []byte("{}")
	openBrace   = wire.NewPart(emptyObject[:1])
	closeBrace  = wire.NewPart(emptyObject[1:])
)

// side picks one of the two things a presence may be written as; "" is nothing.
type side func(tp *topic, p *presence) string

func current(_ *topic, p *presence) string { return p.meta }

func sent(tp *topic, p *presence) string {
	if p.change == 0 {
		return p.meta
	}
	return tp.changes[p.change-1].sent
}

// encoded returns the presence_state as of the last flush in parts, which together are {"key":{"metas":[…]},…}. Neither
// the list nor its bytes ever change: they may be kept and sent without the lock. It is kept, for everyone who
// joins asks for it, and put together again once something has changed, which encodes the chunks that have changed.
func (tp *topic) encoded() []*wire.Part {
	if tp.state != nil {
		return tp.state
	}
	chunks := 0
	for c := tp.first; c != nil; c = c.next {
		chunks++
	}
	tp.state = append(make([]*wire.Part, 0, chunks+2), openBrace)
	for c := tp.first; c != nil; c = c.next {
		c.encode(tp)
		if len(c.encoded) > 0 {
			tp.state = append(tp.state, c.shared(len(tp.state) == 1))
		}
	}
	tp.state = append(tp.state, closeBrace)
	return tp.state
}

// appendTruth appends the current side of the topic in the form of encoded.
func (tp *topic) appendTruth(dst []byte) []byte {
	dst = append(dst, '{')
	start := len(dst)
	for c := tp.first; c != nil; c = c.next {
		for _, e := range c.entries {
			dst = tp.appendEntry(dst, e, current, len(dst) > start)
		}
	}
	return append(dst, '}')
}

// appendDiff appends the payload of a presence_diff that makes the truth of what clients know. It reports false if there is
// nothing to say.
func (tp *topic) appendDiff(dst []byte) ([]byte, bool) {
	const empty = `{"joins":{},"leaves":{}}`
	start := len(dst)
	dst = append(dst, `{"joins":`...)
	dst = tp.appendChanges(dst, current)
	dst = append(dst, `,"leaves":`...)
	dst = tp.appendChanges(dst, sent)
	dst = append(dst, '}')
	return dst, len(dst)-start > len(empty)
}

// appendChanges appends one side of the changes alone. No two metas are equal, for each has a ref of its own: of a
// change current has joined and sent has left, an update being both, or there is neither.
func (tp *topic) appendChanges(dst []byte, s side) []byte {
	dst = append(dst, '{')
	start := len(dst)
	for i := range tp.dirty {
		dst = tp.appendChanged(dst, &tp.dirty[i], s, len(dst) > start)
	}
	return append(dst, '}')
}

// appendEntry appends one side of e as "key":{"metas":[…]}, with a comma before it if asked to; nothing if that side has
// no metas.
func (tp *topic) appendEntry(dst []byte, e *entry, s side, comma bool) []byte {
	open := false
	for p := e.first; p != nil; p = p.next {
		if meta := s(tp, p); meta != "" {
			dst, open = e.appendMeta(dst, meta, comma, open), true
		}
	}
	return closeEntry(dst, open)
}

// appendChanged is appendEntry of the changes alone.
func (tp *topic) appendChanged(dst []byte, d *changedEntry, s side, comma bool) []byte {
	open := false
	for i := d.first; i != 0; i = tp.changes[i-1].next {
		if meta := s(tp, tp.changes[i-1].presence); meta != "" {
			dst, open = d.entry.appendMeta(dst, meta, comma, open), true
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

// appendParts appends a payload in parts.
func appendParts(dst []byte, parts []*wire.Part) []byte {
	for _, part := range parts {
		dst = append(dst, part.Text()...)
	}
	return dst
}
