package frames

import (
	"sync"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
	"github.com/mycelium-rt/mycelium/wire"
)

// Set is one broadcast as frames by key. A set is used again after Release; the zero
// Set is ready for Encode.
type Set struct {
	// Static between Encode and Release.
	Topic, Event string
	Payload      wire.Payload   // a part of common's bytes
	common       *netloop.Frame // of the common key
	weighed      bool

	mu    sync.Mutex
	other []keyed // guarded by mu: the frames of other keys that some socket has wanted
}

// keyed is the frame of a key; nil where there is none to send: the serializer or the
// framing cannot carry the message, or compressing it gains nothing.
type keyed struct {
	key   Key
	frame *netloop.Frame
}

// compressing is the Compression in the keys of compressed frames within a set, which
// are the same whatever was agreed on.
const compressing = 1

// Encode makes the set of an event. The frame of the common key is made at once: it is
// also the copy of the payload that a broadcast needs in any case. Errors are those
// of version 2 of Phoenix's dialect; nothing is to be released then.
func (s *Set) Encode(topic, event string, p wire.Payload) error {
	const room = websocket.MaxHeaderSize
	f := netloop.NewFrame(room + envelope + len(topic) + len(event) + len(p.Data))
	buf, binary, err := wire.V2{}.AppendBroadcast(f.Bytes()[:room], topic, event, p)
	if err != nil {
		f.Release()
		return err
	}
	s.Topic, s.Event, s.common = topic, event, webSocket{}.Finish(f, buf, binary)
	end := len(buf)
	if !binary {
		end -= len("]")
	}
	s.Payload = wire.Payload{Data: buf[end-len(p.Data) : end], Binary: p.Binary}
	return nil
}

// Weigh has each frame count at most a quarter of what may wait for a socket. It comes
// right after Encode.
func (s *Set) Weigh() {
	s.weighed = true
	s.common.Weigh(s.common.Size())
}

// Release gives back all frames. They live on where they were sent.
func (s *Set) Release() {
	s.common.Release()
	s.Topic, s.Event, s.Payload, s.common, s.weighed = "", "", wire.Payload{}, nil, false
	if len(s.other) == 0 {
		return
	}
	for _, o := range s.other {
		if o.frame != nil {
			o.frame.Release()
		}
	}
	clear(s.other)
	s.other = s.other[:0]
}

// Frame returns the frame for sockets with a key, nil if they cannot get the message. The
// set keeps its own reference to it. Safe for concurrent use: whoever wants a frame
// that is being made waits.
func (s *Set) Frame(k Key) *netloop.Frame {
	plain := Key{Encoding: k.Encoding, Framing: k.Framing}
	if k.isCommon() {
		return s.common
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.common
	if !plain.isCommon() {
		f = s.findFrame(plain, nil)
	}
	if t := &framings[k.Framing]; f != nil && k.Compression != 0 && t.compressor != nil && t.compressor.takes(k.Compression, f) {
		plain.Compression = compressing
		if z := s.findFrame(plain, f); z != nil {
			return z
		}
	}
	return f
}

// findFrame returns the frame of a key, which is made the first time; of is the frame to
// compress if the key has a compression. s.mu is held.
func (s *Set) findFrame(k Key, of *netloop.Frame) (f *netloop.Frame) {
	for _, o := range s.other {
		if o.key == k {
			return o.frame
		}
	}
	if of != nil {
		f = framings[k.Framing].compressor.compress(of)
	} else {
		// With an error, those who cannot get the message are left out. Phoenix
		// crashes the broadcaster where a client of version 1 would get bytes.
		f, _ = k.broadcastFrame(s.Topic, s.Event, s.Payload)
	}
	if s.weighed && f != nil {
		f.Weigh(f.Size())
	}
	s.other = append(s.other, keyed{k, f})
	return f
}
