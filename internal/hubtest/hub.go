// Package hubtest connects the nodes of a cluster within a test's process.
package hubtest

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Hub carries packets between nodes. ID is cluster.LogID: the tests of package cluster
// itself use the hub too, so it cannot import that package.
type Hub[ID comparable] struct {
	mu    sync.Mutex
	ports map[ID]*Port[ID] // guarded by mu
}

// New returns a hub without nodes.
func New[ID comparable]() *Hub[ID] { return &Hub[ID]{ports: make(map[ID]*Port[ID])} }

// Port is the transport of one node, a cluster.Transport. It has a goroutine that
// receives.
type Port[ID comparable] struct {
	hub        *Hub[ID]
	self       ID // set by Open
	packets    chan []byte
	deaf, mute atomic.Bool
	reader     sync.WaitGroup
}

// room is how many packets may wait at a port. What there is no room for is dropped, as a
// network does.
const room = 20_000

// Port returns a transport for one node.
func (h *Hub[ID]) Port() *Port[ID] {
	return &Port[ID]{hub: h, packets: make(chan []byte, room)}
}

// SetDeaf loses all packets to the node, or no longer does.
func (p *Port[ID]) SetDeaf(deaf bool) { p.deaf.Store(deaf) }

// SetMute loses all packets of the node, or no longer does.
func (p *Port[ID]) SetMute(mute bool) { p.mute.Store(mute) }

// Open implements cluster.Transport.
func (p *Port[ID]) Open(self ID, receive func(data []byte)) error {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	p.self, p.hub.ports[self] = self, p
	p.reader.Go(func() {
		for b := range p.packets {
			receive(b)
		}
	})
	return nil
}

// ToAll implements cluster.Transport.
func (p *Port[ID]) ToAll(data []byte) error {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	for id, other := range p.hub.ports {
		if id != p.self {
			p.send(other, data)
		}
	}
	return nil
}

// To implements cluster.Transport.
func (p *Port[ID]) To(id ID, data []byte) {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if other := p.hub.ports[id]; other != nil {
		p.send(other, data)
	}
}

// send sends a packet to another port. The caller holds the hub's mu.
func (p *Port[ID]) send(to *Port[ID], data []byte) {
	if p.mute.Load() || to.deaf.Load() {
		return
	}
	select {
	case to.packets <- slices.Clone(data):
	default:
	}
}

// Close implements cluster.Transport.
func (p *Port[ID]) Close() error {
	p.hub.mu.Lock()
	delete(p.hub.ports, p.self)
	close(p.packets) // nobody can be sending: senders hold mu, and find the port gone
	p.hub.mu.Unlock()
	p.reader.Wait()
	return nil
}
