package presence

import "github.com/mycelium-rt/mycelium/wire"

var emptyObject = []byte("{}")

// side selects the meta of a presence that is written, current or sent; "" is
// none.
type side func(tp *topic, p *presence) string

func current(_ *topic, p *presence) string { return p.meta }

func sent(tp *topic, p *presence) string {
	if p.change == 0 {
		return p.meta
	}
	return tp.changes[p.change-1].sent
}

// appendSide appends one side of the topic as one presence_state.
func (tp *topic) appendSide(dst []byte, s side) []byte {
	dst = append(dst, '{')
	start := len(dst)
	for c := tp.first; c != nil; c = c.next {
		for _, e := range c.entries {
			dst = tp.appendEntry(dst, e, s, len(dst) > start)
		}
	}
	return append(dst, '}')
}

// appendEntry appends one side of e as "key":{"metas":[…],…}, preceded by a
// comma if comma is set; it appends nothing if that side has no metas.
func (tp *topic) appendEntry(dst []byte, e *entry, s side, comma bool) []byte {
	open := false
	for p := e.first; p != nil; p = p.next {
		if meta := s(tp, p); meta != "" {
			dst, open = e.appendMeta(dst, meta, comma, open), true
		}
	}
	return closeEntry(dst, open, tp.members(e))
}

// appendMeta appends one meta, preceded by the key if it is the first.
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

// closeEntry ends an entry, if one is open, with the members that Fetch has added.
func closeEntry(dst []byte, open bool, members string) []byte {
	if open {
		dst = append(append(append(dst, ']'), members...), '}')
	}
	return dst
}
