package wire

import "sync"

// Part is a piece of a payload that many messages have in common, so that what
// a transport makes of it, compressed for example, is made once for all of
// them. Neither the part nor its text changes. Safe for use by several
// goroutines.
type Part struct {
	text []byte
	once sync.Once
	made []byte
}

// NewPart returns a part; text is its from now on.
func NewPart(text []byte) *Part { return &Part{text: text} }

// Text is to be read only.
func (p *Part) Text() []byte { return p.text }

// Made returns what f makes of the text; only the first call for a part has it
// made. It is to be read only.
func (p *Part) Made(f func(text []byte) []byte) []byte {
	p.once.Do(func() { p.made = f(p.text) })
	return p.made
}

// Parted is an event whose payload, a JSON object, is in parts.
type Parted struct {
	Event string
	Parts []*Part
}

// AppendPushHead appends the envelope of a push in text up to its payload, and
// returns what follows the payload.
func AppendPushHead(v Version, dst []byte, joinRef Ref, topic, event string) (head []byte, tail string) {
	if v == V1 {
		dst = appendV1Head(dst, event)
		return dst, string(appendV1Tail(nil, nil, topic))
	}
	// An object is always taken, and is the last thing but for a bracket.
	dst, _, _ = v2{}.AppendPush(dst, joinRef, topic, event, Payload{Data: []byte("{}")})
	return dst[:len(dst)-len("{}]")], "]"
}
