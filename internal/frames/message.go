package frames

import (
	"sync"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/prepared"
	"github.com/mycelium-rt/mycelium/wire"
)

// envelope is what an envelope takes beside its refs, topic, event and payload, in
// bytes and generously: brackets, quotes, the keys of version 1.
const envelope = 96

// startFrame returns a frame for a message of about size bytes and an envelope, and the
// buffer to append the message to.
func (k Key) startFrame(size int) (*netloop.Frame, []byte) {
	room := framings[k.Framing].room
	f := netloop.NewFrame(room + envelope + size)
	return f, f.Bytes()[:room]
}

// finishFrame makes the frame of what a serializer has returned.
func (k Key) finishFrame(f *netloop.Frame, buf []byte, binary bool, err error) (*netloop.Frame, error) {
	t := &framings[k.Framing]
	if err == nil && binary && t.textOnly {
		err = ErrTextOnly
	}
	if err != nil {
		f.Release()
		return nil, err
	}
	return t.Finish(f, buf, binary), nil
}

// finishOwnFrame is finishFrame for a message to one socket: it is compressed at once.
func (k Key) finishOwnFrame(f *netloop.Frame, buf []byte, binary bool, err error) (*netloop.Frame, error) {
	f, err = k.finishFrame(f, buf, binary, err)
	if err != nil || k.Compression == 0 {
		return f, err
	}
	if z := framings[k.Framing].compressed(k.Compression, f); z != nil {
		f.Release()
		return z, nil
	}
	return f, nil
}

// Push encodes a message to one socket. Errors are those of the serializer, and
// ErrTextOnly.
func (k Key) Push(joinRef wire.Ref, topic, event string, p wire.Payload) (*netloop.Frame, error) {
	f, buf := k.startFrame(len(joinRef) + len(topic) + len(event) + len(p.Data))
	buf, binary, err := k.Encoding.Serializer().AppendPush(buf, joinRef, topic, event, p)
	return k.finishOwnFrame(f, buf, binary, err)
}

// Broadcast encodes, for one socket, a message that was a broadcast. Errors are
// those of Push.
func (k Key) Broadcast(topic, event string, p wire.Payload) (*netloop.Frame, error) {
	f, buf := k.startFrame(len(topic) + len(event) + len(p.Data))
	buf, binary, err := k.Encoding.Serializer().AppendBroadcast(buf, topic, event, p)
	return k.finishOwnFrame(f, buf, binary, err)
}

// Reply encodes a reply. Errors are those of Push.
func (k Key) Reply(joinRef, ref wire.Ref, topic, status string, p wire.Payload) (*netloop.Frame, error) {
	quoted := topics.Get().(*[]byte)
	*quoted = wire.AppendString((*quoted)[:0], topic)
	f, err := k.ReplyJSON(joinRef, ref, *quoted, status, p)
	if cap(*quoted) <= maxTopic {
		topics.Put(quoted)
	}
	return f, err
}

// topics has room for topics as JSON: buffers of at most maxTopic bytes.
var topics = sync.Pool{New: func() any { return new([]byte) }}

const maxTopic = 1 << 10

// ReplyJSON is Reply to a message whose topic, in JSON, need not be a string.
func (k Key) ReplyJSON(joinRef, ref wire.Ref, topicJSON []byte, status string, p wire.Payload) (*netloop.Frame, error) {
	f, buf := k.startFrame(len(joinRef) + len(ref) + len(topicJSON) + len(status) + len(p.Data))
	buf, binary, err := k.Encoding.Serializer().AppendReply(buf, joinRef, ref, topicJSON, status, p)
	return k.finishOwnFrame(f, buf, binary, err)
}

// Control encodes phx_close or phx_error. payload is JSON.
func (k Key) Control(joinRef wire.Ref, topic, event string, payload []byte) *netloop.Frame {
	f, buf := k.startFrame(2*len(joinRef) + len(topic) + len(event) + len(payload))
	buf = k.Encoding.Serializer().AppendControl(buf, joinRef, topic, event, wire.Payload{Data: payload})
	return framings[k.Framing].Finish(f, buf, false)
}

// broadcastFrame encodes a message for all sockets with the key, which has no compression.
func (k Key) broadcastFrame(topic, event string, p wire.Payload) (*netloop.Frame, error) {
	f, buf := k.startFrame(len(topic) + len(event) + len(p.Data))
	buf, binary, err := k.Encoding.Serializer().AppendBroadcast(buf, topic, event, p)
	return k.finishFrame(f, buf, binary, err)
}

// shareFrom is the size in bytes from which a payload in parts is sent from where it
// is. Below it a copy costs less than the bookkeeping, and comes from a pool.
const shareFrom = 32 << 10

// Series encodes several pushes, at least one, to be sent one behind the other. Large
// payloads are shared by all frames that have them. However large they are, they count
// for a quarter of what may wait for a socket at most: all of them with the last frame, so that
// they count until that is sent.
func (k Key) Series(joinRef wire.Ref, topic string, series []prepared.Message) (first *netloop.Frame, more []*netloop.Frame, err error) {
	first, err = k.partedFrame(joinRef, topic, &series[0])
	if err != nil {
		return nil, nil, err
	}
	if e := k.enveloper(); e != nil && framings[k.Framing].sharer.chains() {
		k.chainMessages(e, first, joinRef, topic, series[1:])
		first.Weigh(first.Size())
		return first, nil, nil
	}
	last, size := first, first.Size()
	for i := range series[1:] {
		f, err := k.partedFrame(joinRef, topic, &series[1+i])
		if err != nil {
			first.Release()
			Release(more)
			return nil, nil, err
		}
		last.Weigh(1)
		last, size = f, size+f.Size()
		more = append(more, f)
	}
	last.Weigh(size)
	return first, more, nil
}

// Release releases frames.
func Release(frames []*netloop.Frame) {
	for _, f := range frames {
		f.Release()
	}
}

// enveloper returns the serializer if payloads can be shared, else nil.
func (k Key) enveloper() wire.Enveloper {
	if framings[k.Framing].sharer == nil {
		return nil
	}
	e, _ := k.Encoding.Serializer().(wire.Enveloper)
	return e
}

// partedFrame encodes one message of a series.
func (k Key) partedFrame(joinRef wire.Ref, topic string, m *prepared.Message) (*netloop.Frame, error) {
	size := m.Size()
	e := k.enveloper()
	if size < shareFrom || e == nil {
		return k.Push(joinRef, topic, m.Event, wire.Payload{Data: m.AppendPayload(make([]byte, 0, size))})
	}
	f := netloop.NewFrame(framings[k.Framing].room + envelope + len(joinRef) + len(topic) + len(m.Event))
	own, rest := k.shareMessage(e, f.Bytes(), joinRef, topic, m)
	f.SetBytes(own)
	f.Share(rest)
	return f, nil
}

func (k Key) shareMessage(e wire.Enveloper, buf []byte, joinRef wire.Ref, topic string, m *prepared.Message) (own []byte, rest [][]byte) {
	head, tail := e.AppendHead(make([]byte, 0, envelope), joinRef, topic, m.Event)
	return framings[k.Framing].sharer.share(buf, head, m.Parts, tail, k.Compression)
}

// chainMessages puts messages behind the first one in its frame.
func (k Key) chainMessages(e wire.Enveloper, first *netloop.Frame, joinRef wire.Ref, topic string, series []prepared.Message) {
	if len(series) == 0 {
		return
	}
	var list [][]byte
	for i := range series {
		own, rest := k.shareMessage(e, nil, joinRef, topic, &series[i])
		list = append(append(list, own), rest...)
	}
	first.ShareMore(list)
}
