package channels

import (
	"sync"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
	"github.com/mycelium-rt/mycelium/wire"
)

// Frames are complete WebSocket frames, header included, so that one can be
// shared by all receivers. A message is encoded behind room for the largest
// header, which is then put right before it.

// maxHeader is the room for the longest header.
const maxHeader = websocket.MaxHeaderSize

// envelope is what an envelope takes beside its refs, topic, event and
// payload, generously: brackets, quotes, keys of version 1.
const envelope = 96

func startFrame(size int) (*netloop.Frame, []byte) {
	f := netloop.NewFrame(maxHeader + envelope + size)
	return f, f.Bytes()[:maxHeader]
}

// finishFrame puts the header before a message that was encoded behind
// maxHeader bytes of room.
func finishFrame(f *netloop.Frame, message []byte, binary bool) *netloop.Frame {
	return finishHead(f, message, binary, 0)
}

// finishHead is finishFrame for a message of which more bytes follow.
func finishHead(f *netloop.Frame, message []byte, binary bool, more int) *netloop.Frame {
	op := websocket.OpText
	if binary {
		op = websocket.OpBinary
	}
	n := len(message) - maxHeader + more
	size := websocket.PutHeader(message[:maxHeader], op, n)
	f.SetBytes(message[maxHeader-size:])
	return f
}

// messageOf undoes finishFrame, for a transport that has no frames: the second
// byte tells which of its three sizes the header has (RFC 6455 section 5.2).
func messageOf(f *netloop.Frame) (message []byte, binary bool) {
	data := f.Bytes()
	size := 2
	switch data[1] {
	case 126:
		size = 4
	case 127:
		size = maxHeader
	}
	return data[size:], websocket.Op(data[0]&0x0f) == websocket.OpBinary
}

// deflatedFrame compresses a finished frame into a new one; nil if that gains
// nothing.
func deflatedFrame(f *netloop.Frame) *netloop.Frame {
	message, binary := messageOf(f)
	op := websocket.OpText
	if binary {
		op = websocket.OpBinary
	}
	c := websocket.Compress(op, message)
	if c == nil {
		return nil
	}
	defer c.Release()
	z := netloop.NewFrame(len(c.Bytes()))
	z.Append(c.Bytes())
	return z
}

// takesDeflated reports whether a frame is to be compressed for the socket.
func (s *Socket) takesDeflated(f *netloop.Frame) bool {
	d := s.deflate
	if d == websocket.NoDeflate {
		return false
	}
	message, _ := messageOf(f)
	return d.Takes(len(message))
}

// ownFrame takes a frame that is for this socket alone and returns what to
// send in its place: the same, or it compressed.
func (s *Socket) ownFrame(f *netloop.Frame) *netloop.Frame {
	if !s.takesDeflated(f) {
		return f
	}
	z := deflatedFrame(f)
	if z == nil {
		return f
	}
	f.Release()
	return z
}

func broadcastFrame(v wire.Version, topic, event string, p Payload) (f *netloop.Frame, body []byte, err error) {
	f, buf := startFrame(len(topic) + len(event) + len(p.Data))
	buf, binary, err := wire.For(v).AppendBroadcast(buf, topic, event, p)
	if err != nil {
		f.Release()
		return nil, nil, err
	}
	return finishFrame(f, buf, binary), buf[maxHeader:], nil
}

func (s *Socket) pushFrame(joinRef wire.Ref, topic, event string, p Payload) (*netloop.Frame, error) {
	f, buf := startFrame(len(joinRef) + len(topic) + len(event) + len(p.Data))
	buf, binary, err := wire.For(s.version).AppendPush(buf, joinRef, topic, event, p)
	if err != nil {
		f.Release()
		return nil, err
	}
	return s.ownFrame(finishFrame(f, buf, binary)), nil
}

// shareFrom is the size in bytes from which a payload in parts is sent from where it lies. Below it a copy costs less than
// the book-keeping, and comes from a pool.
const shareFrom = 32 << 10

// partsFrame is pushFrame for a JSON object in parts, which are shared by all frames that have them, if they are large and
// the socket takes them: as they are, or compressed once for all.
func (s *Socket) partsFrame(joinRef wire.Ref, topic, event string, parts []*wire.Part) (*netloop.Frame, error) {
	size := 0
	for _, part := range parts {
		size += len(part.Text())
	}
	if size >= shareFrom && s.version == wire.V2 && s.transport.name() == transportWebsocket {
		switch {
		case s.deflate == websocket.NoDeflate:
			return s.sharedParts(joinRef, topic, event, parts, size)
		case s.deflate.TakesParts():
			if f, err := s.deflatedParts(joinRef, topic, event, parts, size); f != nil || err != nil {
				return f, err
			}
		}
	}
	whole := make([]byte, 0, size)
	for _, part := range parts {
		whole = append(whole, part.Text()...)
	}
	return s.pushFrame(joinRef, topic, event, Payload{Data: whole})
}

// sharedParts has the parts behind the envelope, up to the payload, that is the frame's own.
func (s *Socket) sharedParts(joinRef wire.Ref, topic, event string, parts []*wire.Part, size int) (*netloop.Frame, error) {
	f, buf := startFrame(len(joinRef) + len(topic) + len(event))
	buf, err := appendToPayload(buf, joinRef, topic, event)
	if err != nil {
		f.Release()
		return nil, err
	}
	list := make([][]byte, 0, len(parts)+1)
	for _, part := range parts {
		list = append(list, part.Text())
	}
	f.Share(append(list, closeBracket))
	return finishHead(f, buf, false, size+len(closeBracket)), nil
}

// deflatedParts is sharedParts for a socket with compression; nil if compressing gains nothing.
func (s *Socket) deflatedParts(joinRef wire.Ref, topic, event string, parts []*wire.Part, size int) (*netloop.Frame, error) {
	list, more := make([][]byte, 0, len(parts)+1), len(deflatedBracket)
	for _, part := range parts {
		z := part.Made(websocket.CompressPart)
		if z == nil {
			return nil, nil
		}
		list = append(list, z)
		more += len(z)
	}
	if more >= size {
		return nil, nil
	}
	f, buf := startFrame(websocket.StoredHead + len(joinRef) + len(topic) + len(event))
	const own = maxHeader + websocket.StoredHead
	buf, err := appendToPayload(buf[:own], joinRef, topic, event)
	if err != nil || len(buf)-own > websocket.MaxStored {
		f.Release()
		return nil, err
	}
	websocket.PutStored(buf[maxHeader:], len(buf)-own)
	head := websocket.PutCompressedHeader(buf[:maxHeader], websocket.OpText, len(buf)-maxHeader+more)
	f.SetBytes(buf[maxHeader-head:])
	f.Share(append(list, deflatedBracket))
	return f, nil
}

// appendToPayload appends the envelope of a push of version 2 up to its payload, which is the last thing in it but for a
// bracket.
func appendToPayload(dst []byte, joinRef wire.Ref, topic, event string) ([]byte, error) {
	dst, _, err := wire.For(wire.V2).AppendPush(dst, joinRef, topic, event, Payload{Data: emptyObject})
	if err != nil {
		return nil, err
	}
	return dst[:len(dst)-len("{}]")], nil
}

// The end of an envelope, plain and compressed.
var closeBracket, deflatedBracket = []byte("]"), websocket.StoredEnd("]")

// maxQuote is the size in bytes above which a buffer is not used again.
const maxQuote = 1 << 10

// quotes has room for topics as JSON.
var quotes = sync.Pool{New: func() any { return new([]byte) }}

// replyFrame encodes a channel's reply; its topic is one that was joined.
func (s *Socket) replyFrame(joinRef, ref wire.Ref, topic, status string, p Payload) (*netloop.Frame, error) {
	quoted := quotes.Get().(*[]byte)
	*quoted = wire.AppendString((*quoted)[:0], topic)
	f, err := s.replyFrameJSON(joinRef, ref, *quoted, status, p)
	if cap(*quoted) <= maxQuote {
		quotes.Put(quoted)
	}
	return f, err
}

func (s *Socket) replyFrameJSON(joinRef, ref wire.Ref, topicJSON []byte, status string, p Payload) (*netloop.Frame, error) {
	if p.Binary && s.transport.name() == transportLongpoll {
		return nil, errTextOnly
	}
	f, buf := startFrame(len(joinRef) + len(ref) + len(topicJSON) + len(status) + len(p.Data))
	buf, binary, err := wire.For(s.version).AppendReply(buf, joinRef, ref, topicJSON, status, p)
	if err != nil {
		f.Release()
		return nil, err
	}
	return s.ownFrame(finishFrame(f, buf, binary)), nil
}

// sendMessageReply answers a message on behalf of the socket itself, at once.
// response is JSON.
func (s *Socket) sendMessageReply(joinRef wire.Ref, m *wire.Message, status string, response []byte) {
	f, err := s.replyFrameJSON(joinRef, m.Ref, m.TopicJSON, status, Payload{Data: response})
	if err != nil {
		s.line(zerolog.ErrorLevel, "reply cannot be encoded").Err(err).Write() // JSON replies always can
		return
	}
	s.send(f)
}

// sendEnd sends phx_close or phx_error for a channel.
func (s *Socket) sendEnd(c *Context, event string, payload []byte) {
	f, buf := startFrame(2*len(c.joinRef) + len(c.topic) + len(event) + len(payload))
	buf = wire.For(s.version).AppendControl(buf, c.joinRefWire(), c.topic, event, Payload{Data: payload})
	s.send(finishFrame(f, buf, false))
}
