package cluster

import "iter"

// Entry types. A number never changes its meaning; a receiver skips those that
// it does not know.
const (
	// TypeBroadcast is a message for all subscribers of a topic: see [Node.Bus].
	TypeBroadcast byte = 1
	// TypeRecorded is a message that is recorded, for all subscribers of a topic.
	TypeRecorded byte = 2
	// typeFragment is a part of an entry that is larger than a packet.
	typeFragment byte = 3
	// TypeJoin and TypeLeave are changes of presences.
	TypeJoin  byte = 4
	TypeLeave byte = 5
	// TypeSession is what a client that has disconnected has acknowledged. Messages of
	// this type ask other nodes for it.
	TypeSession byte = 6
	// TypeHistory is about messages that were recorded: what is erased, and what
	// nodes have of the logs of others.
	TypeHistory byte = 7
	// TypeRevoked is tokens that were revoked.
	TypeRevoked byte = 8
)

// Kind gives entries their meaning. A node calls its kinds from one goroutine
// at a time, and never while it holds a lock that [Node.Append] needs.
type Kind interface {
	// Apply is called with each entry of p, once and in order. The entry is
	// valid until Apply returns.
	Apply(p *Peer, typ byte, entry []byte)
	// Lost reports that n entries of p are lost for good. It is not called for
	// a kind with snapshots, whose state is restored instead.
	Lost(p *Peer, n uint64)
	// Up reports that p is heard, and that every entry has been applied that it
	// had appended when it was first heard, or heard again.
	Up(p *Peer)
	// Down reports that p is silent or has said goodbye. Earlier entries of it
	// may still be applied.
	Down(p *Peer)
	// Gone is the last call for p, which will not return with this log.
	Gone(p *Peer)
}

// Snapshotter is a [Kind] with state, which can be sent as a whole in place of
// its entries.
type Snapshotter interface {
	Kind
	// Snapshot yields the state made by this node's own entries of this kind,
	// in parts of at most size bytes, which the node keeps. The state may or
	// may not include entries that are appended while Snapshot runs.
	Snapshot(size int, yield func(part []byte))
	// Restore replaces the state made by p's entries with the state in parts,
	// and then applies the entries of tail. The state may include some of these
	// already. Only the difference may be visible to others.
	Restore(p *Peer, parts iter.Seq[[]byte], tail iter.Seq2[byte, []byte])
}

// Heir is a [Snapshotter] whose snapshots also have what nodes have left that are
// gone. So a node asks each peer that is older than itself for a snapshot, even if it
// could get all entries of the peer.
type Heir interface {
	Snapshotter
	// Inherits does nothing.
	Inherits()
}

// Messenger is a [Kind] whose nodes send each other messages besides entries, with
// [Node.Send]. Messages may be lost, and may overtake entries.
type Messenger interface {
	Kind
	// Message is called with a message of p. data is valid until it returns.
	Message(p *Peer, typ byte, data []byte)
}

// Announcer is a [Kind] that has something to say in each heartbeat.
type Announcer interface {
	Kind
	// Announce returns what is sent, at most some hundred bytes.
	Announce() []byte
	// Announced is called with what p has sent. data is valid until it returns.
	Announced(p *Peer, data []byte)
}
