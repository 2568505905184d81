package cluster

import (
	"cmp"
	"time"
)

// Times. The simulation depends on the relations between them that the comments
// state.
const (
	// heartbeatEvery is the time between two heartbeats. A lost tail of a log
	// is noticed by the next one.
	heartbeatEvery = time.Second
	// tickEvery is how often a node checks what is overdue.
	tickEvery = 250 * time.Millisecond
	// DownAfter is the silence after which a peer is Down: six heartbeats, so
	// that with one packet in ten lost, a peer goes down once in a million.
	DownAfter = 6 * time.Second
	// GoneAfter is how long a peer that is Down is remembered. A partition that
	// heals sooner costs a resend and not a snapshot.
	GoneAfter = 60 * time.Second
	// keepFor is how long an entry can be sent again, within Limits.Keep.
	keepFor = 10 * time.Second
	// holdFor is how long a hole may hold up the entries behind it, before the
	// node asks for a snapshot in place of the missing entries.
	holdFor = 2 * time.Second
	// askEvery is the time between two requests for the same hole: some round
	// trips.
	askEvery = 250 * time.Millisecond
	// conflictAfter is how long another node with this node's name must be
	// heard before it counts as alive: longer than late packets of a dead one
	// keep coming.
	conflictAfter = 8 * time.Second
	// retrySendAfter is the pause after the transport has refused a batch.
	retrySendAfter = 50 * time.Millisecond
	// partsEvery is the pause between two portions of a snapshot: with
	// partsAtATime and Limits.Packet, about 20 MB a second.
	partsEvery = 50 * time.Millisecond
	// snapshotFor is how long a snapshot is kept for peers that miss parts of
	// it.
	snapshotFor = 10 * time.Second
	// shareSnapshotFor is how long a snapshot is also sent to other peers that
	// ask.
	shareSnapshotFor = time.Second
)

// Limits bound what a node keeps and sends, in bytes. A zero field is the default.
type Limits struct {
	// Packet bounds a packet. It must be the same on all nodes of a cluster.
	// Default 60 KiB: NATS refuses messages above 1 MiB, and a small packet
	// does not hold up the next ones.
	Packet int
	// Keep bounds the entries that are kept for sending again, and those that
	// wait to be sent. Default 16 MiB: 10 s at the 5,000 messages a second of a
	// large node.
	Keep int
	// Hold bounds the entries of one peer that are held behind a hole. Default
	// 4 MiB.
	Hold int
}

// MaxPacket is the largest packet by default, in bytes.
const MaxPacket = 60 << 10

func (l Limits) withDefaults() Limits {
	return Limits{cmp.Or(l.Packet, MaxPacket), cmp.Or(l.Keep, 16<<20), cmp.Or(l.Hold, 4<<20)}
}

// part returns the size that an entry or a part of a snapshot may have in a
// packet.
func (l Limits) part() int { return l.Packet - packetRoom }

// Sizes.
const (
	// packetRoom is more than everything else in a packet takes, in bytes.
	packetRoom = 80
	// resendBytes bounds the answer to one request. A peer that misses more
	// asks again.
	resendBytes = 1 << 20
	// partsAtATime is how many parts of a snapshot are sent at once.
	partsAtATime = 16
	// maxEntry bounds an entry, and so the memory that fragments take at the
	// receiver.
	maxEntry = 64 << 20
	// maxParts bounds a snapshot, in parts.
	maxParts = 1 << 16
)

// Versions of the packets that this package reads and writes.
const (
	oldestVersion = 1
	newestVersion = 1
)
