package wire

// V2 is the serializer of version 2.0.0: arrays [join_ref, ref, topic, event, payload] as text, and binary
// messages (v2_binary.go). The payload alone decides which of the two a message is: an
// object that answers a binary push is sent as text.
type V2 struct{}

// Version is "2.0.0".
func (V2) Version() string { return "2.0.0" }

// The places of an envelope. Clients may send more elements, which are ignored.
const (
	elementJoinRef = iota
	elementRef
	elementTopic
	elementEvent
	elementPayload
	elementCount
)

// Decode reads an array, or a binary push.
func (V2) Decode(frame []byte, binary bool, m *Message) error {
	m.reset()
	if binary {
		return decodeBinary(frame, m)
	}
	return decodeText(frame, m)
}

func decodeText(frame []byte, m *Message) error {
	var elements [elementCount]span
	s := scanner{b: frame}
	i, f := s.elements(&elements)
	if f == faultNone {
		i, f = s.end(i)
	}
	if f != faultNone {
		return f.at(i)
	}
	b := s.compact(i)
	m.JoinRef = refOf(elements[elementJoinRef].of(b))
	m.Ref = refOf(elements[elementRef].of(b))
	m.setTopic(elements[elementTopic].of(b))
	m.setEvent(elements[elementEvent].of(b))
	m.Payload.Data = elements[elementPayload].of(b)
	return nil
}

// elements scans the array and notes where its first five elements are.
func (s *scanner) elements(at *[elementCount]span) (int, fault) {
	c, i := s.peek(0)
	if c != '[' {
		return i, s.unless(i, faultNotArray)
	}
	i++
	for n := 0; ; n++ {
		var f fault
		_, i = s.peek(i)
		start := s.offset(i)
		if i, f = s.value(i); f != faultNone {
			return i, f
		}
		if n < elementCount {
			at[n] = span{start, s.offset(i)}
		}
		switch c, i = s.peek(i); c {
		case ',':
			i++
		case ']':
			if n+1 < elementCount {
				return i, faultElements
			}
			return i + 1, faultNone
		default:
			return i, s.unless(i, faultComma)
		}
	}
}

// AppendPush takes an object or bytes.
func (V2) AppendPush(dst []byte, joinRef Ref, topic, event string, p Payload) ([]byte, bool, error) {
	if p.Binary {
		out, err := appendBinaryPush(dst, joinRef, topic, event, p.Data)
		return out, true, err
	}
	if !IsObject(p.Data) {
		return dst, false, ErrNotObject
	}
	return appendV2(dst, joinRef, nil, topic, event, p), false, nil
}

// AppendReply takes any JSON, or bytes.
func (V2) AppendReply(dst []byte, joinRef, ref Ref, topicJSON []byte, status string, p Payload) ([]byte, bool, error) {
	if p.Binary {
		out, err := appendBinaryReply(dst, joinRef, ref, topicJSON, status, p.Data)
		return out, true, err
	}
	dst = append(dst, '[')
	dst = appendRef(dst, joinRef)
	dst = append(dst, ',')
	dst = appendRef(dst, ref)
	dst = append(dst, ',')
	dst = append(dst, topicJSON...)
	dst = append(dst, `,"phx_reply",`...)
	dst = appendResponse(dst, status, p)
	return append(dst, ']'), false, nil
}

// AppendBroadcast takes an object or bytes. The message ends with the payload, but for a bracket behind
// an object.
func (V2) AppendBroadcast(dst []byte, topic, event string, p Payload) ([]byte, bool, error) {
	if p.Binary {
		out, err := appendBinaryBroadcast(dst, topic, event, p.Data)
		return out, true, err
	}
	if !IsObject(p.Data) {
		return dst, false, ErrNotObject
	}
	return appendV2(dst, nil, nil, topic, event, p), false, nil
}

// AppendHead implements [Enveloper].
func (V2) AppendHead(dst []byte, joinRef Ref, topic, event string) (head []byte, tail string) {
	return appendV2Head(dst, joinRef, nil, topic, event), "]"
}

// AppendControl writes join_ref as the ref too.
func (V2) AppendControl(dst []byte, joinRef Ref, topic, event string, p Payload) []byte {
	return appendV2(dst, joinRef, joinRef, topic, event, p)
}

func appendV2(dst []byte, joinRef, ref Ref, topic, event string, p Payload) []byte {
	dst = appendV2Head(dst, joinRef, ref, topic, event)
	dst = append(dst, p.Data...)
	return append(dst, ']')
}

// appendV2Head appends what precedes the payload.
func appendV2Head(dst []byte, joinRef, ref Ref, topic, event string) []byte {
	dst = append(dst, '[')
	dst = appendRef(dst, joinRef)
	dst = append(dst, ',')
	dst = appendRef(dst, ref)
	dst = append(dst, ',')
	dst = AppendString(dst, topic)
	dst = append(dst, ',')
	dst = AppendString(dst, event)
	return append(dst, ',')
}

// appendResponse appends the payload of a phx_reply, in Phoenix's order of keys.
func appendResponse(dst []byte, status string, p Payload) []byte {
	dst = append(dst, `{"response":`...)
	dst = append(dst, p.Data...)
	dst = append(dst, `,"status":`...)
	dst = AppendString(dst, status)
	return append(dst, '}')
}
