package wire

import (
	"bytes"
	"strconv"
)

// Ref is a ref or a join_ref: the compact JSON that it came in (`"1"`, `1`,
// `{"a":1}`); nil is null. Phoenix echoes refs of any type, and clients compare
// them, so refs are never converted.
type Ref []byte

// Equal reports whether both refs are the same. It is strict: "1" differs from
// 1, and "" from null. Strings are equal if they decode to the same text,
// however they are escaped; other refs are compared as compact JSON.
func (r Ref) Equal(other Ref) bool {
	if bytes.Equal(r, other) {
		return (r == nil) == (other == nil)
	}
	if !r.isString() || !other.isString() || (!hasEscape(r) && !hasEscape(other)) {
		return false
	}
	return bytes.Equal(r.AppendText(nil), other.AppendText(nil))
}

// Clone returns a copy that does not point into the frame; null stays null.
func (r Ref) Clone() Ref {
	if n, ok := r.count(); ok {
		return counted[n]
	}
	return bytes.Clone(r)
}

// counted are the refs "0" to "255". Clients count their refs, so the join_refs of most joined channels are among them.
var counted = func() (refs [256]Ref) {
	for n := range refs {
		b := strconv.AppendQuote(nil, strconv.Itoa(n))
		refs[n] = b[:len(b):len(b)]
	}
	return refs
}()

// count returns n if r is counted[n].
func (r Ref) count() (n int, ok bool) {
	last := len(r) - 1
	if last < 2 || last > 4 || r[0] != '"' || r[last] != '"' || r[1] == '0' && last > 2 {
		return 0, false
	}
	for _, c := range r[1:last] {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, n < len(counted)
}

// AppendText appends the ref as a binary frame has it: a string without its
// quotes, null as nothing, anything else as its JSON.
func (r Ref) AppendText(dst []byte) []byte {
	switch {
	case r.isString():
		return appendUnescaped(dst, r[1:len(r)-1])
	case r == nil:
		return dst
	default:
		return append(dst, r...)
	}
}

func (r Ref) isString() bool {
	return len(r) >= 2 && r[0] == '"'
}

// refOf is the ref of a scanned JSON value.
func refOf(raw []byte) Ref {
	if raw[0] == 'n' {
		return nil
	}
	return raw
}

// appendRef appends the JSON of a ref.
func appendRef(dst []byte, r Ref) []byte {
	if r == nil {
		return append(dst, "null"...)
	}
	return append(dst, r...)
}
