package cluster

import "iter"

// Entry types. A number never changes its meaning; a receiver skips those that
// it does not know.
const (
	// TypeBroadcast is a message for all subscribers of a topic: see [Node.Bus].
	TypeBroadcast byte = 1
	// TypeRecorded is a broadcast that goes into the history of its topic.
	TypeRecorded byte = 2
	// typeFragment is a part of an entry that is larger than a packet.
	typeFragment byte = 3
	// TypeJoin and TypeLeave are changes of presences.
	TypeJoin  byte = 4
	TypeLeave byte = 5
	// TypeSession is the position of a session whose node is draining.
	TypeSession byte = 6
)

// Kind gives entries their meaning. A node calls its kinds from one goroutine
// at a time, and never while it holds a lock that [Node.Append] needs.
type Kind interface {
	// Apply is called with each entry of p, once and in order. The entry is
	// valid until Apply returns.
	Apply(p *Peer, typ byte, entry []byte)
	// Lost reports that n entries of p cannot be had any more. A kind that has
	// snapshots gets its state anew and is not told.
	Lost(p *Peer, n uint64)
	// Up reports that p is heard and that everything has been applied which it
	// had appended when it was first heard, or heard again.
	Up(p *Peer)
	// Down reports that p is silent or has said goodbye. What it appended
	// before may still be applied.
	Down(p *Peer)
	// Gone is the last call for p: it does not come back under this log.
	Gone(p *Peer)
}

// Snapshotter is a [Kind] with state: what it has appended can be given as a
// whole.
type Snapshotter interface {
	Kind
	// Snapshot yields the state that this node's own entries of this kind have
	// made, in parts of at most size bytes, which the node keeps. It may or may
	// not have in it what is appended while it runs.
	Snapshot(size int, yield func(part []byte))
	// Restore replaces everything that p's entries have made by the state in
	// parts, changed by the entries of tail. The state may have some of these
	// changes in it already. Only the difference may be visible to others.
	Restore(p *Peer, parts iter.Seq[[]byte], tail iter.Seq2[byte, []byte])
}
