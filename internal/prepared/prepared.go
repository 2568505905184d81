// Package prepared has the payloads that package presence hands to package
// channels: JSON that presence has made itself, which is therefore neither
// encoded nor validated again, and which many messages share.
//
// Context.Push takes a *[State] as a payload, and Endpoint.BroadcastLocal a *[Diff]. Both encode with encoding/json too, for whatever else
// implements presence's interfaces.
package prepared

import "sync"

// Part is a piece of a payload that many messages have in common, so that what
// a transport makes of it, compressed for example, is made once for all of
// them. Neither the part nor its text changes. Safe for concurrent use.
type Part struct {
	text []byte

	mu    sync.Mutex
	forms []partForm // guarded by mu
}

// Form is a number for one way of writing a text. Package frames assigns them.
type Form uint16

type partForm struct {
	form  Form
	bytes []byte
}

// NewPart returns a part, which owns text from now on.
func NewPart(text []byte) *Part { return &Part{text: text} }

// Text returns the text. It must not be modified.
func (p *Part) Text() []byte { return p.text }

// In returns the text in a form, which encode makes of it the first time. The
// result must not be modified; it is nil if encode has returned nil.
func (p *Part) In(form Form, encode func(text []byte) []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.forms {
		if f.form == form {
			return f.bytes
		}
	}
	b := encode(p.text)
	p.forms = append(p.forms, partForm{form, b})
	return b
}

// Message is an event whose payload, a JSON object, is in parts.
type Message struct {
	Event string
	Parts []*Part
}

// Size is the length of the payload in bytes.
func (m *Message) Size() (size int) {
	for _, part := range m.Parts {
		size += len(part.text)
	}
	return size
}

// AppendPayload appends the payload.
func (m *Message) AppendPayload(dst []byte) []byte {
	for _, part := range m.Parts {
		dst = append(dst, part.text...)
	}
	return dst
}

// State is a presence_state as the payload of a push. Its fields do not change.
type State struct {
	// Series is the state as messages, at least one, to be sent one behind the other.
	Series []Message
	// Again pushes a newer state to a channel to which this one was not sent
	// because its client was slow to read; nil: this one is always sent. Until it is
	// called, on the channel's loop, the channel is sent no [Diff].
	Again func(channel any) error
	// Whole returns the state as one object. It may be called only until the push
	// has returned; nil if there is but one message.
	Whole func() []byte
}

// MarshalJSON returns the state as one object.
func (s *State) MarshalJSON() ([]byte, error) {
	if s.Whole != nil {
		return s.Whole(), nil
	}
	return s.Series[0].AppendPayload(make([]byte, 0, s.Series[0].Size())), nil
}

// Diff is a presence_diff as the payload of a broadcast.
type Diff struct {
	// JSON is valid until the broadcast has returned.
	JSON []byte
	// Again is that of [State]: it pushes a state to a channel for which the diff was
	// left out, because its client was slow to read.
	Again func(channel any) error
}

// MarshalJSON returns the diff.
func (d *Diff) MarshalJSON() ([]byte, error) { return d.JSON, nil }
