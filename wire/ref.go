package wire

import "bytes"

// Ref is a ref or a join_ref: the JSON it came in (`"1"`, `1`, `{"a":1}`), compact; nil is null. Phoenix echoes
// refs whatever they are, and clients compare them, so a ref is never converted.
type Ref []byte

// Equal tells whether both refs are the same. It is strict: "1" is not 1 and "" is not null. Strings are
// the same if they decode to the same text, however they were escaped; of anything else the compact JSON is compared.
func (r Ref) Equal(other Ref) bool {
	if bytes.Equal(r, other) {
		return (r == nil) == (other == nil)
	}
	if !r.isString() || !other.isString() || (!hasEscape(r) && !hasEscape(other)) {
		return false
	}
	return bytes.Equal(r.AppendText(nil), other.AppendText(nil))
}

// Clone copies the ref out of the frame it points into; null stays null.
func (r Ref) Clone() Ref {
	return bytes.Clone(r)
}

// AppendText appends the ref as a binary frame carries it: a string without its quotes, null as
// nothing, anything else as its JSON.
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
