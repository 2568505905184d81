package cluster

import (
	"sync"
)

// hub connects the nodes of one process: each has a goroutine that receives.
type hub struct {
	mu    sync.Mutex
	nodes map[LogID]*hubTransport // guarded by mu
}

type hubTransport struct {
	hub     *hub
	self    LogID
	packets chan []byte
	done    chan struct{}
	reader  sync.WaitGroup
}

func newHub() *hub { return &hub{nodes: make(map[LogID]*hubTransport)} }

func (h *hub) transport() *hubTransport {
	return &hubTransport{hub: h, packets: make(chan []byte, 10_000), done: make(chan struct{})}
}

// Open implements Transport.
func (t *hubTransport) Open(self LogID, receive func([]byte)) error {
	t.self = self
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	t.hub.nodes[self] = t
	t.reader.Go(func() {
		for {
			select {
			case b := <-t.packets:
				receive(b)
			case <-t.done:
				return
			}
		}
	})
	return nil
}

// ToAll implements Transport.
func (t *hubTransport) ToAll(data []byte) error {
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	for log, other := range t.hub.nodes {
		if log != t.self {
			other.put(data)
		}
	}
	return nil
}

// To implements Transport.
func (t *hubTransport) To(log LogID, data []byte) {
	t.hub.mu.Lock()
	defer t.hub.mu.Unlock()
	if other := t.hub.nodes[log]; other != nil {
		other.put(data)
	}
}

// put drops what there is no room for, as a network does.
func (t *hubTransport) put(data []byte) {
	select {
	case t.packets <- append([]byte(nil), data...):
	default:
	}
}

// Close implements Transport.
func (t *hubTransport) Close() error {
	t.hub.mu.Lock()
	delete(t.hub.nodes, t.self)
	t.hub.mu.Unlock()
	close(t.done)
	t.reader.Wait()
	return nil
}
