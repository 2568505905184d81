package cluster

import "time"

// PeerInfo is what a node knows about a peer.
type PeerInfo struct {
	Log           LogID
	Name, Address string
	// Info is what its Options.Info returned for its last heartbeat, and Told how long
	// ago that came.
	Info []byte
	Told time.Duration
	// Up reports whether it is heard and followed, Left whether it has said
	// goodbye.
	Up, Left bool
	// Incompatible reports whether it writes a version that this node cannot
	// read.
	Incompatible bool
	// Silent is how long nothing has come from it.
	Silent time.Duration
	// Applied is the number of its last entry that was applied here, replaced by
	// a snapshot, or lost. The difference between two readings tells how fast its
	// entries come.
	Applied uint64
	// Behind counts its known entries that are not applied here yet.
	Behind uint64
	// Held is the size of its entries that wait behind a hole, in bytes.
	Held int
	// Lost counts its entries that were lost.
	Lost uint64
}

// Stats are a node's counters since its start, and its present state.
type Stats struct {
	// Sent counts entries sent, Resent entries sent again.
	Sent, Resent uint64
	// Busy counts entries that were refused with ErrBusy.
	Busy uint64
	// SendErrors counts batches and heartbeats that the transport refused.
	SendErrors uint64
	// Asked counts requests for missing entries, Snapshots the snapshots that
	// were made.
	Asked, Snapshots uint64
	// Malformed counts packets that could not be read.
	Malformed uint64
	// Waiting is the size of the entries that wait to be sent, Kept of those
	// that can be sent again, in bytes.
	Waiting, Kept int
	// Peers are ordered by log. Peers whose name has a newer log are left out.
	Peers []PeerInfo
}

// Stats returns the node's counters and state.
func (n *Node) Stats() Stats {
	c := &n.counters
	s := Stats{
		Sent: c.sent.Load(), Resent: c.resent.Load(), Busy: c.busy.Load(), SendErrors: c.sendErrors.Load(),
		Asked: c.asked.Load(), Snapshots: c.snapshots.Load(), Malformed: c.malformed.Load(),
	}
	n.mu.Lock()
	s.Waiting, s.Kept = n.log.wait, n.log.bytes
	n.mu.Unlock()
	n.in.Lock()
	defer n.in.Unlock()
	for _, p := range n.inOrder() {
		if p.ended {
			continue
		}
		s.Peers = append(s.Peers, PeerInfo{
			Log: p.log, Name: p.name, Address: p.address, Info: p.info, Told: n.clock.Now() - p.told, Up: p.up, Left: p.leaving, Incompatible: p.incompatible,
			Silent: n.clock.Now() - p.heard, Applied: p.next - 1, Behind: p.head + 1 - p.next, Held: p.held.bytes, Lost: p.lost,
		})
	}
	return s
}
