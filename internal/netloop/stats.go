package netloop

import (
	"sync/atomic"
	"time"
)

// Stats are the counters of a group since it was created. They are not read at one instant.
type Stats struct {
	Connections int64 // open now
	Accepted    int64 // from listeners, portable ones included
	Adopted     int64
	Refused     int64 // accepted or adopted, but lost before HandleOpen: TLS handshake failed, no descriptor, or no room in epoll
	Detached    int64

	// Closed connections by reason.
	ClosedByPeer     int64 // ErrPeerClosed
	ClosedReset      int64 // ErrPeerReset
	ClosedGone       int64 // ErrPeerGone
	ClosedSlow       int64 // ErrSlowReceiver
	ClosedByGroup    int64 // ErrClosed
	ClosedForAnother int64 // other reasons given to Close

	BytesIn  int64
	BytesOut int64
	Reads    int64 // that brought bytes
	Writes   int64 // that took bytes

	DroppedOldest int64 // frames, by DropOldest
	DroppedNewest int64 // frames, by DropNewest
	DroppedClosed int64 // frames that still waited when their connection was closed, or were sent to it later
	Overloads     int64 // times that an inbox passed the high-water mark

	// Not counters: what they are at the moment.
	NewcomerDelay  time.Duration // [Group.Delay]
	HandshakeDelay time.Duration // [Group.HandshakeDelay]
}

// counters are one loop's. They are atomic for Stats; only the loop and its connections' goroutines add.
type counters struct {
	connections, accepted, adopted, refused, detached atomic.Int64

	closedByPeer, closedReset, closedGone, closedSlow, closedByGroup, closedForAnother atomic.Int64

	bytesIn, bytesOut, reads, writes atomic.Int64

	droppedOldest, droppedNewest, droppedClosed, overloads atomic.Int64
}

// Stats returns the group's counters. Any goroutine.
func (g *Group) Stats() Stats {
	s := Stats{NewcomerDelay: g.Delay(), HandshakeDelay: g.HandshakeDelay()}
	for _, l := range g.loops {
		l.stats.addTo(&s)
	}
	return s
}

func (c *counters) addTo(s *Stats) {
	s.Connections += c.connections.Load()
	s.Accepted += c.accepted.Load()
	s.Adopted += c.adopted.Load()
	s.Refused += c.refused.Load()
	s.Detached += c.detached.Load()
	s.ClosedByPeer += c.closedByPeer.Load()
	s.ClosedReset += c.closedReset.Load()
	s.ClosedGone += c.closedGone.Load()
	s.ClosedSlow += c.closedSlow.Load()
	s.ClosedByGroup += c.closedByGroup.Load()
	s.ClosedForAnother += c.closedForAnother.Load()
	s.BytesIn += c.bytesIn.Load()
	s.BytesOut += c.bytesOut.Load()
	s.Reads += c.reads.Load()
	s.Writes += c.writes.Load()
	s.DroppedOldest += c.droppedOldest.Load()
	s.DroppedNewest += c.droppedNewest.Load()
	s.DroppedClosed += c.droppedClosed.Load()
	s.Overloads += c.overloads.Load()
}

// countClose counts a closed connection under its reason.
func (c *counters) countClose(reason error) {
	switch reason {
	case ErrPeerClosed:
		c.closedByPeer.Add(1)
	case ErrPeerReset:
		c.closedReset.Add(1)
	case ErrPeerGone:
		c.closedGone.Add(1)
	case ErrSlowReceiver:
		c.closedSlow.Add(1)
	case ErrClosed:
		c.closedByGroup.Add(1)
	default:
		c.closedForAnother.Add(1)
	}
}
