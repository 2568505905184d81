package frames

import (
	"errors"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/prepared"
)

// Framing is the number of a [Framer].
type Framing uint8

// The framings. The first is that of the zero Key.
const (
	WebSocket Framing = iota // with a WebSocket header before the message
	LongPoll                 // the message as a JSON string
	TCP                      // with a length and a type before the message
)

// framings are all framings by their numbers. A new one is a line here and a
// constant above.
var framings = []framing{
	WebSocket: newFraming(webSocket{}),
	LongPoll:  newFraming(longPoll{}),
	TCP:       newFraming(tcp{}),
}

// ErrTextOnly is the error for a binary message where the framing carries text alone.
var ErrTextOnly = errors.New("frames: the transport carries text only")

// TextOnly reports whether binary messages cannot be sent.
func (f Framing) TextOnly() bool { return framings[f].textOnly }

// Framer makes the bytes that one transport sends of a message. It has no state.
type Framer interface {
	// Room is the number of bytes that Finish may put before a message.
	Room() int
	// TextOnly reports whether binary messages cannot be sent.
	TextOnly() bool
	// Finish makes the frame of a message that was encoded into f behind Room bytes:
	// buf is the room and the message. It returns f, or a new frame in its
	// place after it has released f.
	Finish(f *netloop.Frame, buf []byte, binary bool) *netloop.Frame
}

// compressor is a Framer that can compress its frames.
type compressor interface {
	// takes reports whether a finished frame is to be compressed where c was agreed on.
	takes(c Compression, f *netloop.Frame) bool
	// compress returns the frame compressed, as a new one; nil if that is not smaller.
	// What c was agreed on makes no difference to the result.
	compress(f *netloop.Frame) *netloop.Frame
}

// sharer is a Framer that can send the parts of a payload from where they are.
type sharer interface {
	// share frames the message head + parts + tail: own is what belongs to this message
	// alone, appended to buf, and rest follows it.
	share(buf, head []byte, parts []*prepared.Part, tail string, c Compression) (own []byte, rest [][]byte)
	// chains reports whether several messages can stand in one frame, one behind the
	// other.
	chains() bool
}

// framing is a Framer with what is asked of it for every message.
type framing struct {
	Framer
	room       int
	textOnly   bool
	compressor compressor // nil: it cannot compress
	sharer     sharer     // nil: parts are copied
}

func newFraming(f Framer) framing {
	c, _ := f.(compressor)
	s, _ := f.(sharer)
	return framing{Framer: f, room: f.Room(), textOnly: f.TextOnly(), compressor: c, sharer: s}
}

// compressed returns a finished frame compressed, nil if it is to be sent as it is.
func (t *framing) compressed(c Compression, f *netloop.Frame) *netloop.Frame {
	if c == 0 || t.compressor == nil || !t.compressor.takes(c, f) {
		return nil
	}
	return t.compressor.compress(f)
}
