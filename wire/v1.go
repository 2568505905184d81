package wire

// V1 is the serializer of version 1.0.0: objects with topic, event, payload and ref, without join_ref, as
// text only. Keys are written in Phoenix's order.
type V1 struct{}

// Version is "1.0.0".
func (V1) Version() string { return "1.0.0" }

// The keys of an envelope; the first four are required.
const (
	keyTopic = iota
	keyEvent
	keyPayload
	keyRef
	keyJoinRef
	keyCount
)

var keyNames = [keyCount]string{"topic", "event", "payload", "ref", "join_ref"}

// Decode reads an object. Binary frames are taken as JSON too, as Phoenix does. Of equal keys the first
// counts, others than ours are ignored.
func (V1) Decode(frame []byte, _ bool, m *Message) error {
	m.reset()
	var fields [keyCount]span
	s := scanner{b: frame}
	i, f := s.envelope(&fields, m)
	if f == faultNone {
		i, f = s.end(i)
	}
	if f != faultNone {
		return f.at(i)
	}
	for _, field := range fields[:keyJoinRef] {
		if field == (span{}) {
			return faultMissing.at(i)
		}
	}
	b := s.compact(i)
	m.setTopic(fields[keyTopic].of(b))
	m.setEvent(fields[keyEvent].of(b))
	m.Payload.Data = fields[keyPayload].of(b)
	m.Ref = refOf(fields[keyRef].of(b))
	if join := fields[keyJoinRef]; join != (span{}) {
		m.JoinRef = refOf(join.of(b))
	}
	return nil
}

// envelope scans the object and notes where the values of our keys are.
func (s *scanner) envelope(fields *[keyCount]span, m *Message) (int, fault) {
	c, i := s.peek(0)
	if c != '{' {
		return i, s.unless(i, faultNotObject)
	}
	if c, i = s.peek(i + 1); c == '}' {
		return i, faultMissing
	}
	for {
		var key int
		var f fault
		if key, i, f = s.envelopeKey(i, m); f != faultNone {
			return i, f
		}
		_, i = s.peek(i)
		start := s.offset(i)
		if i, f = s.value(i); f != faultNone {
			return i, f
		}
		if key < keyCount && fields[key] == (span{}) {
			fields[key] = span{start, s.offset(i)}
		}
		switch c, i = s.peek(i); c {
		case '}':
			return i + 1, faultNone
		case ',':
			_, i = s.peek(i + 1)
		default:
			return i, s.unless(i, faultComma)
		}
	}
}

// envelopeKey scans a key and its colon. A key that is none of ours yields keyCount.
func (s *scanner) envelopeKey(i int, m *Message) (key, end int, f fault) {
	if end, f = s.keyName(i); f != faultNone {
		return 0, end, f
	}
	// Before the colon: white space in front of it would move the key.
	key = m.keyOf(s.b[i+1 : end-1])
	end, f = s.colon(end)
	return key, end, f
}

// keyOf is which of our keys it is, given the inside of its quotes.
func (m *Message) keyOf(name []byte) int {
	if hasEscape(name) {
		m.scratch = appendUnescaped(m.scratch[:0], name)
		name = m.scratch
	}
	for key := range keyNames {
		if string(name) == keyNames[key] {
			return key
		}
	}
	return keyCount
}

// AppendPush takes any JSON: only version 2 insists on objects.
func (V1) AppendPush(dst []byte, _ Ref, topic, event string, p Payload) ([]byte, bool, error) {
	if p.Binary {
		return dst, false, ErrNotText
	}
	return appendV1(dst, nil, topic, event, p), false, nil
}

// AppendReply takes any JSON.
func (V1) AppendReply(dst []byte, _, ref Ref, topicJSON []byte, status string, p Payload) ([]byte, bool, error) {
	if p.Binary {
		return dst, false, ErrNotText
	}
	dst = append(dst, `{"event":"phx_reply","payload":`...)
	dst = appendResponse(dst, status, p)
	dst = append(dst, `,"ref":`...)
	dst = appendRef(dst, ref)
	dst = append(dst, `,"topic":`...)
	dst = append(dst, topicJSON...)
	return append(dst, '}'), false, nil
}

// AppendBroadcast takes any JSON, as AppendPush does.
func (v V1) AppendBroadcast(dst []byte, topic, event string, p Payload) ([]byte, bool, error) {
	return v.AppendPush(dst, nil, topic, event, p)
}

// AppendHead implements [Enveloper].
func (V1) AppendHead(dst []byte, _ Ref, topic, event string) (head []byte, tail string) {
	return appendV1Head(dst, event), string(appendV1Tail(nil, nil, topic))
}

// AppendControl writes join_ref as the ref.
func (V1) AppendControl(dst []byte, joinRef Ref, topic, event string, p Payload) []byte {
	return appendV1(dst, joinRef, topic, event, p)
}

func appendV1(dst []byte, ref Ref, topic, event string, p Payload) []byte {
	dst = appendV1Head(dst, event)
	dst = append(dst, p.Data...)
	return appendV1Tail(dst, ref, topic)
}

// appendV1Head appends what precedes the payload.
func appendV1Head(dst []byte, event string) []byte {
	dst = append(dst, `{"event":`...)
	dst = AppendString(dst, event)
	return append(dst, `,"payload":`...)
}

// appendV1Tail appends what follows it.
func appendV1Tail(dst []byte, ref Ref, topic string) []byte {
	dst = append(dst, `,"ref":`...)
	dst = appendRef(dst, ref)
	dst = append(dst, `,"topic":`...)
	dst = AppendString(dst, topic)
	return append(dst, '}')
}
