package pubsub

import (
	"errors"
	"slices"
	"strings"
	"sync"
)

// Hub connects any number of nodes within one process, for tests that need several nodes. It has the simplest [Bus].
// The zero Hub is ready to use.
type Hub struct {
	mu     sync.RWMutex
	topics map[string][]*hubNode // guarded by mu; the slices are replaced, never changed
}

// NewHub returns a hub without nodes.
func NewHub() *Hub { return &Hub{} }

// Node returns a new bus, which is connected to all others of this hub once it is opened. It starts no goroutine: what
// is published is received before Publish returns.
func (h *Hub) Node() Bus { return &hubNode{hub: h} }

// hubNode is one node's side of a hub.
type hubNode struct {
	hub *Hub

	mu      sync.Mutex
	receive func(topic string, data []byte) // guarded by mu; nil before Open
	closed  bool                            // guarded by mu
	running sync.WaitGroup                  // calls of receive; Add under mu and only while not closed
}

func (n *hubNode) Open(receive func(topic string, data []byte)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return ErrClosed
	case n.receive != nil:
		return errors.New("pubsub: bus opened twice")
	}
	n.receive = receive
	return nil
}

func (n *hubNode) Publish(topic string, data []byte) error {
	n.mu.Lock()
	closed := n.closed
	n.mu.Unlock()
	if closed {
		return ErrClosed
	}
	n.hub.mu.RLock()
	nodes := n.hub.topics[topic]
	n.hub.mu.RUnlock()
	for _, other := range nodes {
		if other != n {
			other.deliver(topic, data)
		}
	}
	return nil
}

// deliver calls receive unless the node is closed. No lock is held meanwhile, so receive may publish.
func (n *hubNode) deliver(topic string, data []byte) {
	n.mu.Lock()
	if n.closed || n.receive == nil {
		n.mu.Unlock()
		return
	}
	n.running.Add(1)
	n.mu.Unlock()
	defer n.running.Done()
	n.receive(topic, data)
}

func (n *hubNode) Interest(topic string, on bool) {
	// Lock order: a node's mu, then the hub's. Both are held, so that a node that is closing is not added again.
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return
	}
	h := n.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	nodes := slices.DeleteFunc(slices.Clone(h.topics[topic]), func(other *hubNode) bool { return other == n })
	if on {
		nodes = append(nodes, n)
	}
	if len(nodes) == 0 {
		delete(h.topics, topic)
		return
	}
	if h.topics == nil {
		h.topics = make(map[string][]*hubNode)
	}
	h.topics[strings.Clone(topic)] = nodes
}

func (n *hubNode) Close() error {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	n.hub.forgetNode(n)
	n.running.Wait()
	return nil
}

// forgetNode removes a closed node from all topics.
func (h *Hub) forgetNode(n *hubNode) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for topic, nodes := range h.topics {
		if !slices.Contains(nodes, n) {
			continue
		}
		nodes = slices.DeleteFunc(slices.Clone(nodes), func(other *hubNode) bool { return other == n })
		if len(nodes) == 0 {
			delete(h.topics, topic)
		} else {
			h.topics[topic] = nodes
		}
	}
}
