package wire

// Validate checks that json is one JSON value (RFC 8259) that every receiver
// can read, and removes the white space outside of its strings. It is as strict
// as Phoenix's decoder: it rejects lone surrogates, numbers beyond 64-bit
// floats (integers may have any length), raw control characters, invalid UTF-8,
// a byte order mark, and anything but white space behind the value. A value may
// have at most 4,096 arrays and objects within each other. Duplicate keys are
// not rejected.
//
// Validate works in place: compact is a part of json, whose contents are
// unspecified after an error. The error is a *DecodeError.
func Validate(json []byte) (compact []byte, err error) {
	s := scanner{b: json}
	_, i := s.peek(0)
	i, f := s.value(i)
	if f == faultNone {
		i, f = s.end(i)
	}
	if f != faultNone {
		return nil, f.at(i)
	}
	return s.compact(i), nil
}

// IsObject reports whether valid compact JSON is an object.
func IsObject(json []byte) bool {
	return len(json) > 0 && json[0] == '{'
}
