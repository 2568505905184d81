package presence

// The empty object, and the braces of any other.
var (
	emptyObject = []byte("{}")
	openBrace   = emptyObject[:1]
	closeBrace  = emptyObject[1:]
)

// encoded returns the presence_state as of the last flush in parts, which together are {"key":{"metas":[…]},…}. Neither
// the list nor its bytes ever change: they may be kept and sent without the lock. It is kept, for everyone who
// joins asks for it, and put together again once something has changed, which encodes the chunks that have changed.
func (tp *topic) encoded() [][]byte {
	if tp.state != nil {
		return tp.state
	}
	chunks := 0
	for c := tp.first; c != nil; c = c.next {
		chunks++
	}
	tp.state = append(make([][]byte, 0, chunks+2), openBrace)
	for c := tp.first; c != nil; c = c.next {
		c.encode()
		part := c.encoded
		if len(part) > 0 && len(tp.state) == 1 {
			part = part[1:] // no comma before the first entry
		}
		if len(part) > 0 {
			tp.state = append(tp.state, part[:len(part):len(part)])
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
			dst = e.appendTo(dst, current, len(dst) > start)
		}
	}
	return append(dst, '}')
}

// appendDirty appends one side of the dirty presences alone. No two metas are equal, for each has a ref of its own: of a dirty
// presence current has joined and sent has left, an update being both, or there is neither.
func (tp *topic) appendDirty(dst []byte, s side) []byte {
	dst = append(dst, '{')
	start := len(dst)
	for e := tp.dirtyFirst; e != nil; e = e.dirtyNext {
		dst = e.appendDirty(dst, s, len(dst) > start)
	}
	return append(dst, '}')
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

// appendParts appends a payload in parts.
func appendParts(dst []byte, parts [][]byte) []byte {
	for _, part := range parts {
		dst = append(dst, part...)
	}
	return dst
}
