package frames

import (
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/prepared"
	"github.com/mycelium-rt/mycelium/wire"
)

// longPoll is the framing of long polling: a message as the JSON string that it is in
// the answer to a poll.
type longPoll struct{}

func (longPoll) Room() int { return 0 }

// TextOnly: an answer is JSON.
func (longPoll) TextOnly() bool { return true }

func (longPoll) Finish(f *netloop.Frame, message []byte, _ bool) *netloop.Frame {
	quoted := netloop.NewFrame(len(message) + len(message)/8 + len(`""`)) // an eighth for escaped quotes
	quoted.SetBytes(wire.AppendString(quoted.Bytes(), message))
	f.SetBytes(message)
	f.Release()
	return quoted
}

func (longPoll) chains() bool { return false } // an answer has whole frames, and as many as a client takes at a time

// quotedForm is a part as it is within a string.
const quotedForm = prepared.Form(LongPoll) << 8

func (longPoll) share(buf, head []byte, parts []*prepared.Part, tail string, _ Compression) (own []byte, rest [][]byte) {
	own = wire.AppendString(buf, head)
	own = own[:len(own)-len(`"`)]
	rest = make([][]byte, 0, len(parts)+1)
	for _, part := range parts {
		rest = append(rest, part.In(quotedForm, quote))
	}
	return own, append(rest, wire.AppendString(nil, tail)[len(`"`):])
}

// quote escapes text for a string, without the quotes around it.
func quote(text []byte) []byte {
	quoted := wire.AppendString(make([]byte, 0, len(text)+len(text)/8), text)
	return quoted[1 : len(quoted)-1]
}
