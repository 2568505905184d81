package instances

import (
	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/presence"
)

// Observer is told what happens in a life of an instance: see [Instance.Observe].
type Observer interface {
	channels.Observer
	presence.Observer
}

// Observe has o told what happens in this life from now on: see
// [channels.Endpoint.Observe] and [presence.Tracker.Observe]. There is one observer at a
// time; nil ends that.
func (in *Instance) Observe(o Observer) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.observer = o
	if o == nil {
		in.endpoint.Observe(nil)
	} else {
		in.endpoint.Observe(o)
	}
	if in.tracks.Load() {
		in.observePresence()
	}
}

// observePresence has the tracker tell the observer. mu is held.
func (in *Instance) observePresence() {
	if in.observer == nil {
		in.tracker.Observe(nil)
	} else {
		in.tracker.Observe(in.observer)
	}
}

// Life returns the life of an instance that runs on this node, or an error that says why
// there is none: ErrNotFound, ErrNotRunning or an [*ElsewhereError].
func (m *Manager) Life(id string) (*Instance, error) { return m.alive(id) }
