package cluster

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"github.com/mycelium-rt/mycelium/pubsub"
)

// Bus returns the bus of one space of topics: what one node publishes on it
// arrives at the buses of the same space on all other nodes. Everything goes to
// every node, and [pubsub.Bus.Interest] only filters what arrives, so a new
// subscriber misses nothing. Several buses of a space may be open on a node,
// for example while one endpoint replaces another; they do not reach each
// other.
func (n *Node) Bus(space string) pubsub.Bus {
	return &bus{node: n, space: space, topics: make(map[string]struct{})}
}

// bus is one space of topics on this node.
type bus struct {
	node  *Node
	space string

	// receiving is held for reading while receive runs. It is taken before mu.
	receiving sync.RWMutex
	receive   func(topic string, data []byte) // guarded by receiving; nil: not open
	closed    bool                            // guarded by receiving

	mu     sync.Mutex
	topics map[string]struct{} // guarded by mu: topics with subscribers on this node
}

// Open implements pubsub.Bus.
func (b *bus) Open(receive func(topic string, data []byte)) error {
	b.receiving.Lock()
	defer b.receiving.Unlock()
	switch {
	case b.closed:
		return pubsub.ErrClosed
	case b.receive != nil:
		return errors.New("cluster: bus opened twice")
	}
	b.receive = receive
	b.node.spaces.add(b)
	return nil
}

// Publish implements pubsub.Bus. It returns [ErrBusy] while the cluster cannot
// be reached and too much waits for it.
func (b *bus) Publish(topic string, data []byte) error {
	b.receiving.RLock()
	closed := b.closed
	b.receiving.RUnlock()
	if closed {
		return pubsub.ErrClosed
	}
	var head [2 * binary.MaxVarintLen64]byte
	space := binary.AppendUvarint(head[:0], uint64(len(b.space)))
	length := binary.AppendUvarint(space, uint64(len(topic)))[len(space):]
	_, err := b.node.Append(TypeBroadcast, space, []byte(b.space), length, []byte(topic), data)
	return err
}

// Interest implements pubsub.Bus.
func (b *bus) Interest(topic string, on bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if on {
		b.topics[topic] = struct{}{}
	} else {
		delete(b.topics, topic)
	}
}

// Close implements pubsub.Bus.
func (b *bus) Close() error {
	b.receiving.Lock()
	defer b.receiving.Unlock()
	if !b.closed && b.receive != nil {
		b.node.spaces.remove(b)
	}
	b.closed, b.receive = true, nil
	return nil
}

func (b *bus) deliver(topic, data []byte) {
	b.mu.Lock()
	_, wanted := b.topics[string(topic)]
	b.mu.Unlock()
	if !wanted {
		return
	}
	b.receiving.RLock()
	defer b.receiving.RUnlock()
	if b.receive != nil {
		b.receive(string(topic), data)
	}
}

// spaces is the [Kind] of broadcasts. It holds the open buses.
type spaces struct {
	mu    sync.RWMutex
	buses map[string][]*bus // by space; the slices are replaced, never changed
}

func (s *spaces) add(b *bus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buses == nil {
		s.buses = make(map[string][]*bus)
	}
	s.buses[b.space] = append(slices.Clip(s.buses[b.space]), b)
}

func (s *spaces) remove(b *bus) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []*bus
	for _, other := range s.buses[b.space] {
		if other != b {
			left = append(left, other)
		}
	}
	if len(left) == 0 {
		delete(s.buses, b.space)
		return
	}
	s.buses[b.space] = left
}

// Apply implements Kind.
func (s *spaces) Apply(p *Peer, _ byte, entry []byte) {
	r := reader{b: entry}
	space, topic := r.bytes(), r.bytes()
	if r.failed {
		p.node.counters.malformed.Add(1)
		return
	}
	s.mu.RLock()
	buses := s.buses[string(space)]
	s.mu.RUnlock()
	for _, b := range buses {
		b.deliver(topic, r.b)
	}
}

// Lost implements Kind: [PeerInfo] counts lost entries, and nothing can repair
// them.
func (s *spaces) Lost(*Peer, uint64) {}

// Up implements Kind.
func (s *spaces) Up(*Peer) {}

// Down implements Kind.
func (s *spaces) Down(*Peer) {}

// Gone implements Kind.
func (s *spaces) Gone(*Peer) {}
