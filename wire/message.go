package wire

// Payload is what a message carries: JSON text (valid and compact) or, in version 2, plain bytes.
type Payload struct {
	Data   []byte
	Binary bool
}

// Message is one envelope that a client sent.
//
// Every slice in it points into the frame it was decoded from, or into a scratch buffer of the Message: it
// is valid until the frame is reused or the next Decode into the same Message. What has to
// live longer is copied. Decoding into the same Message again and again is what keeps it free of allocations.
type Message struct {
	JoinRef Ref // nil is null; version 1 clients seldom send one
	Ref     Ref // nil is null

	// Topic is the decoded string; it is nil unless TopicIsString. Phoenix does not close the socket
	// for a topic that is no string: it is one that no channel matches.
	Topic         []byte
	TopicIsString bool

	// TopicJSON is the topic as it came, for the replies to echo.
	TopicJSON []byte

	// Event is the decoded string; it is nil unless EventIsString. In Phoenix an event that is no
	// string crashes its channel, and that alone. So is one of a binary frame whose bytes, or those of its
	// ref, are not UTF-8.
	Event         []byte
	EventIsString bool

	Payload Payload

	// scratch holds what has no place in the frame: a decoded topic with escapes, and the quoted refs
	// and topic of a binary frame.
	scratch []byte
}

// reset empties m and keeps its scratch buffer.
func (m *Message) reset() {
	*m = Message{scratch: m.scratch[:0]}
}

// setTopic takes the JSON of a topic. TopicJSON has to survive, so a topic with escapes is decoded
// into the scratch buffer.
func (m *Message) setTopic(raw []byte) {
	m.TopicJSON = raw
	if raw[0] != '"' {
		return
	}
	m.TopicIsString = true
	m.Topic = raw[1 : len(raw)-1]
	if hasEscape(m.Topic) {
		start := len(m.scratch)
		m.scratch = appendUnescaped(m.scratch, m.Topic)
		m.Topic = m.scratch[start:]
	}
}

// setEvent takes the JSON of an event, which is decoded in place.
func (m *Message) setEvent(raw []byte) {
	if raw[0] != '"' {
		return
	}
	m.EventIsString = true
	m.Event = raw[1 : len(raw)-1]
	if hasEscape(m.Event) {
		m.Event = appendUnescaped(m.Event[:0], m.Event)
	}
}

// quote puts the JSON of a string into the scratch buffer.
func (m *Message) quote(s []byte) []byte {
	start := len(m.scratch)
	m.scratch = AppendString(m.scratch, s)
	return m.scratch[start:]
}
