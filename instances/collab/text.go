package collab

import (
	"encoding/json"
	"slices"
	"unicode/utf16"
)

// maxParts bounds the parts of an operation: a client that was away sends few
// large parts.
const maxParts = 1000

// textPart is a step through a text; exactly one field is set. Lengths are in
// UTF-16 code units, as in JavaScript, Java, Dart and Swift's utf16.
type textPart struct {
	retain int
	remove int
	insert []uint16
}

// textChange walks through a text from its beginning; the rest is retained. In
// JSON: [5, "new", -3] keeps 5, inserts 3, deletes 3.
type textChange []textPart

// text is a text document.
type text struct {
	units []uint16
	most  int // units
}

// parse implements document.
func (t text) parse(op json.RawMessage) (change, error) {
	var parts []any
	if err := json.Unmarshal(op, &parts); err != nil {
		return nil, refuse("op is not a list: [5, \"new\", -3] keeps 5, inserts 3 and deletes 3")
	}
	if len(parts) > maxParts {
		return nil, refuse("op has %d parts: at most %d are allowed", len(parts), maxParts)
	}
	var c textChange
	for i, part := range parts {
		switch p := part.(type) {
		case string:
			c = c.insert(utf16.Encode([]rune(p)))
		case float64:
			n := int(p)
			if float64(n) != p || n == 0 || n > maxUnits || n < -maxUnits {
				return nil, refuse("op[%d] is %v: a part is a text, or a whole number other than 0", i, p)
			}
			if n > 0 {
				c = c.retain(n)
			} else {
				c = c.remove(-n)
			}
		default:
			return nil, refuse("op[%d] is neither a text nor a number", i)
		}
	}
	return c, nil
}

// retain, remove and insert append a part, merging it with the last one.
func (c textChange) retain(n int) textChange {
	if last := len(c) - 1; n == 0 {
		return c
	} else if last >= 0 && c[last].retain > 0 {
		c[last].retain += n
		return c
	}
	return append(c, textPart{retain: n})
}

func (c textChange) remove(n int) textChange {
	if last := len(c) - 1; n == 0 {
		return c
	} else if last >= 0 && c[last].remove > 0 {
		c[last].remove += n
		return c
	}
	return append(c, textPart{remove: n})
}

func (c textChange) insert(units []uint16) textChange {
	if last := len(c) - 1; len(units) == 0 {
		return c
	} else if last >= 0 && c[last].insert != nil {
		c[last].insert = slices.Concat(c[last].insert, units)
		return c
	}
	return append(c, textPart{insert: units})
}

// walk steps through a change, by parts or pieces of parts.
type walk struct {
	rest textChange
	used int // of rest[0]
}

// inserts returns the text that the next part inserts, nil if it is not an
// insertion.
func (w *walk) inserts() []uint16 {
	if len(w.rest) == 0 {
		return nil
	}
	return w.rest[0].insert
}

// spanLeft returns how much of the text the next part retains or removes. After
// its end, a change retains the rest.
func (w *walk) spanLeft() (n int, removes bool) {
	if len(w.rest) == 0 {
		return maxUnits, false
	}
	p := w.rest[0]
	return max(p.retain, p.remove) - w.used, p.remove > 0
}

func (w *walk) skip() { w.rest, w.used = w.rest[1:], 0 }

func (w *walk) advance(n int) {
	if len(w.rest) == 0 {
		return
	}
	w.used += n
	if w.used == max(w.rest[0].retain, w.rest[0].remove) {
		w.skip()
	}
}

// after implements change: if both insert at one place, earlier's text comes
// first.
func (c textChange) after(earlier change) change { return c.rebase(earlier.(textChange), true) }

// parts implements change.
func (c textChange) parts() int { return len(c) }

// rebase returns c for the text that other has made. otherFirst decides whose
// text comes first if both insert at one place; both directions of one pair
// must agree.
func (c textChange) rebase(other textChange, otherFirst bool) textChange {
	var out textChange
	a, b := walk{rest: c}, walk{rest: other}
	for len(a.rest) > 0 {
		mine, theirs := a.inserts(), b.inserts()
		switch {
		case theirs != nil && (otherFirst || mine == nil):
			out = out.retain(len(theirs))
			b.skip()
			continue
		case mine != nil:
			out = out.insert(mine)
			a.skip()
			continue
		}
		n, removes := a.spanLeft()
		m, gone := b.spanLeft()
		n = min(n, m)
		switch {
		case gone: // nothing is left to keep or delete
		case removes:
			out = out.remove(n)
		default:
			out = out.retain(n)
		}
		a.advance(n)
		b.advance(n)
	}
	return out
}

// bound implements document: a unit takes up to three bytes, or becomes \u0001.
func (t text) bound() int { return 6*len(t.units) + len(`""`) }

// apply implements document. It never splits a surrogate pair.
func (t text) apply(c change) (document, error) {
	next := make([]uint16, 0, len(t.units)+64)
	at := 0
	for _, p := range c.(textChange) {
		span := p.retain + p.remove
		if span > len(t.units)-at {
			return nil, refuse("op is longer than the text: it has %d units", len(t.units))
		}
		if t.splits(at) || t.splits(at+span) {
			return nil, refuse("op cuts a surrogate pair in two")
		}
		next = append(next, t.units[at:at+p.retain]...)
		next = append(next, p.insert...)
		at += span
	}
	next = append(next, t.units[at:]...)
	if len(next) > t.most && len(next) > len(t.units) {
		return nil, refuse("the document would have %d units: at most %d are allowed", len(next), t.most)
	}
	return text{next, t.most}, nil
}

// splits reports whether a cut at a place would split a character.
func (t text) splits(at int) bool {
	return at > 0 && at < len(t.units) && utf16.IsSurrogate(rune(t.units[at-1])) && t.units[at-1] < 0xdc00
}

// MarshalJSON implements change.
func (c textChange) MarshalJSON() ([]byte, error) {
	parts := make([]any, len(c))
	for i, p := range c {
		switch {
		case p.insert != nil:
			parts[i] = string(utf16.Decode(p.insert))
		case p.remove > 0:
			parts[i] = -p.remove
		default:
			parts[i] = p.retain
		}
	}
	return json.Marshal(parts)
}

// MarshalJSON implements document: a string.
func (t text) MarshalJSON() ([]byte, error) { return json.Marshal(string(utf16.Decode(t.units))) }

// load implements document.
func (t text) load(data []byte) (document, error) {
	var s string
	err := json.Unmarshal(data, &s)
	return text{utf16.Encode([]rune(s)), t.most}, err
}
