package cluster

import (
	"fmt"
	"slices"
)

// receive is called by the transport. It parses a packet and handles it.
func (n *Node) receive(data []byte) {
	pk, err := parsePacket(data)
	if err != nil {
		n.counters.malformed.Add(1)
		return
	}
	if pk.log == n.id || n.isClosed() {
		return
	}
	n.in.Lock()
	defer n.in.Unlock()
	if err := n.handle(pk); err != nil {
		n.counters.malformed.Add(1)
	}
}

func (n *Node) handle(pk received) error {
	if pk.kind == packetHeartbeat {
		return n.handleHeartbeat(pk)
	}
	p := n.hear(pk.log)
	if pk.version < oldestVersion || pk.version > n.options.Version {
		if p != nil {
			p.incompatible = true
		}
		return nil
	}
	switch pk.kind {
	case packetAsk:
		return n.handleAsk(pk)
	case packetWant:
		return n.handleWant(pk)
	}
	if p == nil {
		return nil // the peer is not known yet, or its name has another log
	}
	p.incompatible = false
	switch pk.kind {
	case packetBatch:
		return p.handleBatch(pk.body)
	case packetPart:
		return p.handlePart(pk.body)
	case packetMessage:
		return p.handleMessage(pk.body)
	}
	return nil // of a later version
}

// handleMessage gives a message to its kind.
func (p *Peer) handleMessage(body []byte) error {
	if len(body) == 0 {
		return errMalformed
	}
	if m, ok := p.node.options.Kinds[body[0]].(Messenger); ok {
		m.Message(p, body[0], body[1:])
	}
	return nil
}

// hear notes that a peer is alive. It returns nil if the peer does not count.
func (n *Node) hear(log LogID) *Peer {
	p := n.peers[log]
	if p == nil || p.ended && !n.revive(p) {
		return nil
	}
	p.heard = n.clock.Now()
	return p
}

// revive gives a name back to a log that had lost it, if the log that took the
// name has fallen silent: then late packets of a dead node had been taken for a
// new one.
func (n *Node) revive(p *Peer) bool {
	if other := n.named[p.name]; other != nil && other != p && n.clock.Now()-other.heard < DownAfter {
		return false
	}
	if other := n.named[p.name]; other != nil {
		other.loseName()
	}
	p.ended = false
	n.named[p.name] = p
	return true
}

// handleHeartbeat makes a peer known, and reveals missed entries.
func (n *Node) handleHeartbeat(pk received) error {
	h, err := parseHeartbeat(pk.body)
	if err != nil {
		return err
	}
	if h.name == n.options.Name {
		n.meetRival(pk.log, h)
		return nil
	}
	if n.peers[pk.log] == nil {
		if h.leaving {
			return nil // it came and left
		}
		n.meet(pk.log, h)
	}
	p := n.hear(pk.log)
	if p == nil {
		return nil
	}
	p.address, p.oldest, p.newest, p.info = h.address, h.oldest, h.newest, h.info
	p.told = n.clock.Now()
	p.head = max(p.head, h.head)
	if p.target == 0 {
		p.target = h.head + 1
	}
	n.chooseVersion()
	p.hearAnnouncements(&h)
	if p.applyOrAsk(); h.leaving {
		p.leaving = true
		p.fall()
	}
	return nil
}

// meet makes a new peer of a log and gives it its name.
func (n *Node) meet(log LogID, h heartbeat) {
	now := n.clock.Now()
	p := &Peer{node: n, log: log, name: h.name, heard: now, next: 1, since: h.head + 1, held: window{limit: n.options.Limits.Hold}}
	if old := n.named[h.name]; old != nil {
		old.loseName()
	}
	n.peers[log], n.named[h.name] = p, p
	n.transport.To(log, n.heartbeat(false)) // so that both know each other at once
	heir := slices.ContainsFunc(n.kinds, func(k Kind) bool { _, ok := k.(Heir); return ok })
	if heir && h.uptime > now-n.born {
		p.expectSnapshot(now)
	}
}

// loseName takes the peer's name away, because its node has begun a new log.
func (p *Peer) loseName() {
	p.ended = true
	p.fall()
	p.abandon()
}

// abandon drops what is held for a peer that is no longer followed.
func (p *Peer) abandon() {
	p.held, p.arrives, p.hole = window{limit: p.held.limit}, nil, 0
}

// meetRival handles a heartbeat with this node's name. Late packets of an
// earlier life of this node stop coming; a node that is still heard after
// conflictAfter is alive.
func (n *Node) meetRival(log LogID, h heartbeat) {
	now, r := n.clock.Now(), &n.rival
	if r.log != log || now-r.last > DownAfter {
		*r = rival{log: log, first: now}
	}
	r.last = now
	if h.leaving || now-r.first < conflictAfter || h.uptime < now-n.born || h.uptime == now-n.born && log > n.id {
		return // the younger of the two gives way
	}
	r.first = now // not again at once
	n.clock.AfterFunc(0, func() { n.yield(h) })
}

// yield leaves the cluster to an older node with this name.
func (n *Node) yield(h heartbeat) {
	n.Close()
	if n.options.OnConflict != nil {
		n.options.OnConflict(fmt.Errorf("cluster: another node is called %q, at %q: give each node a name of its own", h.name, h.address))
	}
}
