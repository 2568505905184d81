package cluster

import (
	"cmp"
	"slices"
	"time"
)

// tick handles what is overdue: heartbeats, silent peers, holes.
func (n *Node) tick() {
	n.in.Lock()
	defer n.in.Unlock()
	if n.isClosed() {
		return
	}
	now := n.clock.Now()
	n.excusePause(now)
	if now-n.beat >= heartbeatEvery {
		n.beat = now
		n.sendHeartbeat(false)
	}
	n.mu.Lock()
	n.log.trim(now)
	n.mu.Unlock()
	if n.snapshot != nil && now-n.snapshot.made > snapshotFor {
		n.snapshot.parts = nil // its number stays
	}
	for _, p := range n.inOrder() {
		p.tick(now)
	}
	n.chooseVersion()
	n.scheduleTick()
}

func (n *Node) scheduleTick() { n.stopTick = n.clock.AfterFunc(tickEvery, n.tick) }

// excusePause does not count a time in which this process did not run as
// silence of its peers: their packets may be waiting.
func (n *Node) excusePause(now time.Duration) {
	if pause := now - n.ticked - tickEvery; pause > tickEvery {
		for _, p := range n.peers {
			p.heard = min(now, p.heard+pause)
		}
	}
	n.ticked = now
}

// inOrder returns the peers in the order of their logs, so that simulations can
// be repeated.
func (n *Node) inOrder() []*Peer {
	peers := make([]*Peer, 0, len(n.peers))
	for _, p := range n.peers {
		peers = append(peers, p)
	}
	slices.SortFunc(peers, func(a, b *Peer) int { return cmp.Compare(a.log, b.log) })
	return peers
}

func (p *Peer) tick(now time.Duration) {
	silent := now - p.heard
	switch {
	case silent >= DownAfter+GoneAfter:
		p.forgetPeer()
		return
	case silent >= DownAfter:
		p.fall()
	}
	if silent < DownAfter && !p.ended {
		p.applyOrAsk()
	}
}

// Announce sends a heartbeat now: Options.Info has something that should not wait for the
// next one.
func (n *Node) Announce() {
	n.in.Lock()
	defer n.in.Unlock()
	if !n.isClosed() {
		n.beat = n.clock.Now()
		n.sendHeartbeat(false)
	}
}

// sendHeartbeat tells all other nodes what this node has. The caller holds in.
func (n *Node) sendHeartbeat(leaving bool) {
	if err := n.transport.ToAll(n.heartbeat(leaving)); err != nil {
		n.counters.sendErrors.Add(1)
	}
}

func (n *Node) heartbeat(leaving bool) []byte {
	h := heartbeat{
		name: n.options.Name, address: n.options.Address, oldest: oldestVersion, newest: n.options.Version,
		head: n.head(), uptime: n.clock.Now() - n.born, leaving: leaving,
	}
	if n.options.Info != nil {
		h.info = n.options.Info()
	}
	h.kinds = n.announcements()
	return h.append(n.packet(packetHeartbeat))
}

// announcements returns what kinds have to say, each behind its smallest type.
func (n *Node) announcements() (all [][]byte) {
	for _, typ := range sortedTypes(n.options.Kinds) {
		a, ok := n.options.Kinds[typ].(Announcer)
		if ok && !slices.ContainsFunc(all, func(b []byte) bool { return n.options.Kinds[b[0]] == Kind(a) }) {
			all = append(all, append([]byte{typ}, a.Announce()...))
		}
	}
	return all
}

// hearAnnouncements gives kinds what a peer has announced.
func (p *Peer) hearAnnouncements(h *heartbeat) {
	for _, b := range h.kinds {
		if len(b) == 0 {
			continue
		}
		if a, ok := p.node.options.Kinds[b[0]].(Announcer); ok {
			a.Announced(p, b[1:])
		}
	}
}

// chooseVersion sets the version to write to one that all live peers can read.
// The caller holds in.
func (n *Node) chooseVersion() {
	version, now := n.options.Version, n.clock.Now()
	for _, p := range n.peers {
		if !p.ended && now-p.heard < DownAfter && p.newest >= oldestVersion {
			version = min(version, p.newest)
		}
	}
	n.speaks.Store(uint32(version))
}

func (n *Node) version() byte { return byte(n.speaks.Load()) }
