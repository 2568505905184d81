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

// messageOf undoes finishFrame for a frame without shared parts.
func messageOf(f *netloop.Frame) (message []byte, binary bool) {
	data := f.Bytes()
	return data[headerSize(f):], websocket.Op(data[0]&0x0f) == websocket.OpBinary
}

// headerSize returns the size of a frame's header: the second byte tells which of
// three it is (RFC 6455 section 5.2).
func headerSize(f *netloop.Frame) int {
	switch f.Bytes()[1] {
	case 126:
		return 4
	case 127:
		return maxHeader
	}
	return 2
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

// seriesFrame returns one frame with several pushes. Large payloads are shared by all frames that have them, as they are or
// compressed once for all.
func (s *Socket) seriesFrame(joinRef wire.Ref, topic string, series []wire.Parted) (*netloop.Frame, error) {
	f, err := s.partedFrame(joinRef, topic, series[0])
	if err != nil || len(series) == 1 {
		return f, err
	}
	list := [][]byte{}
	for _, m := range series[1:] {
		head, rest := s.partedMessage(make([]byte, maxHeader), joinRef, topic, m)
		list = append(append(list, head), rest...)
	}
	f.ShareMore(list)
	return f, nil
}

// partedFrame is seriesFrame for one push.
func (s *Socket) partedFrame(joinRef wire.Ref, topic string, m wire.Parted) (*netloop.Frame, error) {
	if size := sizeOfParts(m.Parts); size < shareFrom {
		whole := make([]byte, 0, size)
		for _, part := range m.Parts {
			whole = append(whole, part.Text()...)
		}
		return s.pushFrame(joinRef, topic, m.Event, Payload{Data: whole})
	}
	f, buf := startFrame(len(joinRef) + len(topic) + len(m.Event))
	head, rest := s.partedMessage(buf, joinRef, topic, m)
	f.SetBytes(head)
	f.Share(rest)
	return f, nil
}

func sizeOfParts(parts []*wire.Part) (size int) {
	for _, part := range parts {
		size += len(part.Text())
	}
	return size
}

// partedMessage makes a push, with its header, as bytes of its own and those that other messages have too. buf is room for the
// header.
func (s *Socket) partedMessage(buf []byte, joinRef wire.Ref, topic string, m wire.Parted) (head []byte, rest [][]byte) {
	if s.deflate.TakesParts() {
		if head, rest = s.deflatedParts(buf, joinRef, topic, m); head != nil {
			return head, rest
		}
	}
	buf, tail := wire.AppendPushHead(s.version, buf, joinRef, topic, m.Event)
	rest = make([][]byte, 0, len(m.Parts)+1)
	for _, part := range m.Parts {
		rest = append(rest, part.Text())
	}
	n := len(buf) - maxHeader + sizeOfParts(m.Parts) + len(tail)
	size := websocket.PutHeader(buf[:maxHeader], websocket.OpText, n)
	return buf[maxHeader-size:], append(rest, []byte(tail))
}

// deflatedParts is partedMessage for a socket with compression; nil if compressing gains nothing.
func (s *Socket) deflatedParts(buf []byte, joinRef wire.Ref, topic string, m wire.Parted) (head []byte, rest [][]byte) {
	rest = make([][]byte, 0, len(m.Parts)+1)
	more := 0
	for _, part := range m.Parts {
		z := part.Made(websocket.CompressPart)
		if z == nil {
			return nil, nil
		}
		rest = append(rest, z)
		more += len(z)
	}
	if more >= sizeOfParts(m.Parts) {
		return nil, nil
	}
	const own = maxHeader + websocket.StoredHead
	buf = append(buf[:maxHeader], make([]byte, websocket.StoredHead)...)
	buf, tail := wire.AppendPushHead(s.version, buf, joinRef, topic, m.Event)
	if len(buf)-own > websocket.MaxStored || len(tail) > websocket.MaxStored {
		return nil, nil
	}
	end := websocket.StoredEnd(tail)
	websocket.PutStored(buf[maxHeader:], len(buf)-own)
	size := websocket.PutCompressedHeader(buf[:maxHeader], websocket.OpText, len(buf)-maxHeader+more+len(end))
	return buf[maxHeader-size:], append(rest, end)
}

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
