package channels

import (
	"sync"
	"sync/atomic"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/wire"
)

// broadcast is one event for all subscribers of a topic, encoded once for each
// protocol version and shared by everybody who sends it. It lives until its
// last reference is released; then its frames live on in the queues they
// wait in.
type broadcast struct {
	refs atomic.Int32

	// Static between newBroadcast and the last Release.
	topic   string
	event   string
	payload Payload                 // a part of v2's bytes
	control bool                    // for the program's own subscribers alone
	v2      *netloop.Frame          // most sockets, and the one copy of the payload
	state   func(channel any) error // of a presence_diff: pushes a state instead

	// Guarded by mu: version 1 is encoded, and each version compressed, when
	// the first listener is met who wants it so.
	mu          sync.Mutex
	v1          *netloop.Frame
	v1Done      bool              // v1 stays nil for a payload that version 1 cannot carry
	deflated    [2]*netloop.Frame // of version 1 and of version 2
	deflateDone [2]bool           // deflated stays nil where compressing gains nothing
}

var broadcasts = sync.Pool{New: func() any { return new(broadcast) }}

// newBroadcast encodes an event; the caller owns one reference. The payload is
// copied.
func newBroadcast(topic, event string, p Payload) (*broadcast, error) {
	f, body, err := broadcastFrame(wire.V2, topic, event, p)
	if err != nil {
		return nil, err
	}
	b := broadcasts.Get().(*broadcast)
	b.refs.Store(1)
	b.topic, b.event, b.v2 = topic, event, f
	// The payload is the last thing in both envelopes: `…,payload]` and bytes.
	end := len(body)
	if !p.Binary {
		end--
	}
	b.payload = Payload{Data: body[end-len(p.Data) : end], Binary: p.Binary}
	return b, nil
}

// weigh has a frame of a diff count at most a quarter of Limits.OutboundBytes: no
// diff is sent to a client for whom more than half waits.
func (b *broadcast) weigh(f *netloop.Frame) {
	if b.state != nil && f != nil {
		f.Weigh(f.Size())
	}
}

// Retain adds references.
func (b *broadcast) Retain(n int32) { b.refs.Add(n) }

// Release takes one reference away.
func (b *broadcast) Release() {
	if b.refs.Add(-1) != 0 {
		return
	}
	b.v2.Release()
	for _, f := range []*netloop.Frame{b.v1, b.deflated[0], b.deflated[1]} {
		if f != nil {
			f.Release()
		}
	}
	b.topic, b.event, b.payload, b.control = "", "", Payload{}, false
	b.v2, b.v1, b.v1Done, b.state = nil, nil, false, nil
	b.deflated, b.deflateDone = [2]*netloop.Frame{}, [2]bool{}
	broadcasts.Put(b)
}

// frame returns the frame for sockets of a version, nil if they cannot get
// this event. The broadcast keeps its own reference to it.
func (b *broadcast) frame(v wire.Version) *netloop.Frame {
	if v != wire.V1 {
		return b.v2
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.v1Done {
		b.v1Done = true
		// Bytes for a version 1 listener: Phoenix crashes the broadcaster here;
		// leaving out the listener loses nothing for the others.
		b.v1, _, _ = broadcastFrame(wire.V1, b.topic, b.event, b.payload)
		b.weigh(b.v1)
	}
	return b.v1
}

// frameFor returns the frame for a socket, compressed if it wants it so, nil if
// it cannot get this event. The broadcast keeps its own reference to it.
func (b *broadcast) frameFor(s *Socket) *netloop.Frame {
	f := b.frame(s.version)
	if f == nil || !s.takesDeflated(f) {
		return f
	}
	if z := b.deflate(s.version, f); z != nil {
		return z
	}
	return f
}

// deflate compresses the frame of a version the first time. Other loops that
// want it wait: they need it for all their sockets.
func (b *broadcast) deflate(v wire.Version, f *netloop.Frame) *netloop.Frame {
	i := 0
	if v != wire.V1 {
		i = 1
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.deflateDone[i] {
		b.deflateDone[i] = true
		z := deflatedFrame(f)
		b.weigh(z)
		b.deflated[i] = z
	}
	return b.deflated[i]
}
