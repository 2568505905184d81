package wire

// Validate checks that json is one JSON value (RFC 8259) that every receiver can read, and takes the white
// space outside of its strings out. It is as strict as Phoenix's decoder: no lone surrogates, no
// numbers beyond 64 bit floats (integers may be of any length), no raw control characters, valid
// UTF-8, no byte order mark, nothing after the value but white space; and at most 4,096 arrays and objects deep.
//
// It works in place: compact is a part of json, which is unspecified after an error. Every error is a
// *[DecodeError]. Equal keys of an object are not looked for, they stay as they came.
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

// IsObject tells whether valid compact JSON is an object.
func IsObject(json []byte) bool {
	return len(json) > 0 && json[0] == '{'
}
