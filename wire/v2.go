package wire

// v2 is the serializer of version 2: arrays [join_ref, ref, topic, event, payload] as text; the binary
// half stands in v2_binary.go. Which of the two a message takes is decided by its payload alone: an
// object that answers a binary push goes out as text.
type v2 struct{}

func (v2) Version() Version { return V2 }

// The places of an envelope. Clients may send more elements, which are ignored.
const (
	elementJoinRef = iota
	elementRef
	elementTopic
	elementEvent
	elementPayload
	elementCount
)

func (v2) Decode(frame []byte, binary bool, m *Message) error {
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

func (v2) AppendPush(dst []byte, joinRef Ref, topic, event string, p Payload) ([]byte, bool, error) {
	if p.Binary {
		out, err := appendBinaryPush(dst, joinRef, topic, event, p.Data)
		return out, true, err
	}
	if !IsObject(p.Data) {
		return dst, false, ErrNotObject
	}
	return appendV2(dst, joinRef, nil, topic, event, p), false, nil
}

func (v2) AppendReply(dst []byte, joinRef, ref Ref, topicJSON []byte, status string, p Payload) ([]byte, bool, error) {
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

func (v2) AppendBroadcast(dst []byte, topic, event string, p Payload) ([]byte, bool, error) {
	if p.Binary {
		out, err := appendBinaryBroadcast(dst, topic, event, p.Data)
		return out, true, err
	}
	if !IsObject(p.Data) {
		return dst, false, ErrNotObject
	}
	return appendV2(dst, nil, nil, topic, event, p), false, nil
}

func (v2) AppendControl(dst []byte, joinRef Ref, topic, event string, p Payload) []byte {
	return appendV2(dst, joinRef, joinRef, topic, event, p)
}

func appendV2(dst []byte, joinRef, ref Ref, topic, event string, p Payload) []byte {
	dst = append(dst, '[')
	dst = appendRef(dst, joinRef)
	dst = append(dst, ',')
	dst = appendRef(dst, ref)
	dst = append(dst, ',')
	dst = AppendString(dst, topic)
	dst = append(dst, ',')
	dst = AppendString(dst, event)
	dst = append(dst, ',')
	dst = append(dst, p.Data...)
	return append(dst, ']')
}

// appendResponse appends the payload of a phx_reply, in Phoenix's order of keys.
func appendResponse(dst []byte, status string, p Payload) []byte {
	dst = append(dst, `{"response":`...)
	dst = append(dst, p.Data...)
	dst = append(dst, `,"status":`...)
	dst = AppendString(dst, status)
	return append(dst, '}')
}
