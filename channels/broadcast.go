package channels

import (
	"sync"
	"sync/atomic"

	"github.com/mycelium-rt/mycelium/internal/frames"
)

// broadcast is one event for all subscribers of a topic, shared by everything
// that sends it. It lives until its last reference is released; frames that
// wait in queues live longer.
type broadcast struct {
	refs atomic.Int32

	// Static between newBroadcast and the last Release.
	frames.Set                         // topic, event, payload and frames
	control    bool                    // only for the program's own subscribers
	historic   bool                    // recorded, or a mark: see Context.passesOver
	mark       bool                    // a history_mark, for the channels that follow
	sender     uint64                  // the client to leave out, on any connection; 0: none
	state      func(channel any) error // of a presence_diff: pushes a state instead
}

var broadcasts = sync.Pool{New: func() any { return new(broadcast) }}

// newBroadcast encodes an event; the caller owns one reference. The payload is
// copied.
func newBroadcast(topic, event string, p Payload) (*broadcast, error) {
	b := broadcasts.Get().(*broadcast)
	if err := b.Encode(topic, event, p); err != nil {
		broadcasts.Put(b)
		return nil, err
	}
	b.refs.Store(1)
	return b, nil
}

// Retain adds references.
func (b *broadcast) Retain(n int32) { b.refs.Add(n) }

// Release gives up one reference.
func (b *broadcast) Release() {
	if b.refs.Add(-1) != 0 {
		return
	}
	b.Set.Release()
	b.control, b.historic, b.mark, b.sender, b.state = false, false, false, 0, nil
	broadcasts.Put(b)
}
