package instances

import (
	"sync"
)

// watchers are the receivers of events.
type watchers struct {
	mu     sync.Mutex
	all    map[*watcher]struct{}
	closed bool
}

type watcher struct{ events chan Event }

// Watch returns a channel of events, which is closed when stop is called or the
// manager is closed. While buffer events wait in the channel, new events are
// dropped.
func (m *Manager) Watch(buffer int) (events <-chan Event, stop func()) {
	w := &watcher{events: make(chan Event, max(1, buffer))}
	ws := &m.watchers
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		close(w.events)
		return w.events, func() {}
	}
	if ws.all == nil {
		ws.all = make(map[*watcher]struct{})
	}
	ws.all[w] = struct{}{}
	return w.events, func() { ws.remove(w) }
}

func (ws *watchers) remove(w *watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if _, ok := ws.all[w]; ok {
		delete(ws.all, w)
		close(w.events)
	}
}

func (ws *watchers) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.closed = true
	for w := range ws.all {
		close(w.events)
	}
	ws.all = nil
}

// notifyWatchers sends an event of a member to the watchers.
func (m *Manager) notifyWatchers(one *member, kind EventKind, reason string) {
	i, _ := one.info()
	e := Event{Time: m.options.Now(), Kind: kind, ID: one.id, Type: i.Type, State: i.State, Revision: i.Revision, Reason: reason}
	ws := &m.watchers
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		select {
		case w.events <- e:
		default:
		}
	}
}
