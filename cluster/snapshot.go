package cluster

import (
	"encoding/binary"
	"iter"
	"slices"
	"time"
)

// snapshot is this node's state in parts, for peers that cannot be sent all
// entries. It includes every change up to entry at and none after until; it may
// include some of those between.
type snapshot struct {
	id        uint64
	at, until uint64
	parts     []snapshotPart
	made      time.Duration
}

type snapshotPart struct {
	typ  byte // of the kind
	body []byte
}

// takeSnapshot returns a recent snapshot, or makes one. The caller holds in.
func (n *Node) takeSnapshot() *snapshot {
	now := n.clock.Now()
	if s := n.snapshot; s != nil && now-s.made < shareSnapshotFor {
		return s
	}
	s := &snapshot{id: 1, at: n.head(), made: now}
	if n.snapshot != nil {
		s.id = n.snapshot.id + 1
	}
	var done []Kind
	for _, typ := range sortedTypes(n.options.Kinds) {
		kind, ok := n.options.Kinds[typ].(Snapshotter)
		if !ok || slices.Contains(done, Kind(kind)) {
			continue
		}
		done = append(done, kind)
		s.parts = append(s.parts, snapshotPart{typ, nil}) // an empty state has one part too
		kind.Snapshot(n.options.Limits.part(), func(part []byte) {
			s.parts = append(s.parts, snapshotPart{typ, part})
		})
	}
	s.until = n.head()
	n.snapshot = s
	n.counters.snapshots.Add(1)
	return s
}

// sendSnapshot sends all of a snapshot to a peer.
func (n *Node) sendSnapshot(to LogID) {
	s := n.takeSnapshot()
	all := make([]uint64, max(1, len(s.parts)))
	for i := range all {
		all[i] = uint64(i)
	}
	n.sendParts(to, s, all)
}

// sendParts sends some parts now and the rest later, at a pace that leaves room
// on the network.
func (n *Node) sendParts(to LogID, s *snapshot, indices []uint64) {
	for _, i := range indices[:min(partsAtATime, len(indices))] {
		b := n.packet(packetPart)
		for _, v := range []uint64{s.id, s.at, s.until, i, uint64(len(s.parts))} {
			b = binary.AppendUvarint(b, v)
		}
		if i < uint64(len(s.parts)) {
			b = append(append(b, s.parts[i].typ), s.parts[i].body...)
		}
		n.transport.To(to, b)
	}
	if rest := indices[min(partsAtATime, len(indices)):]; len(rest) > 0 {
		n.clock.AfterFunc(partsEvery, func() {
			if !n.isClosed() {
				n.sendParts(to, s, rest)
			}
		})
	}
}

// handleWant sends a snapshot, or the parts of one that did not arrive.
func (n *Node) handleWant(pk received) error {
	r := reader{b: pk.body}
	id := r.number()
	var indices []uint64
	for r.more() {
		indices = append(indices, r.number())
	}
	if r.failed {
		return errMalformed
	}
	s := n.snapshot
	if id == 0 || s == nil || s.id != id || s.parts == nil { // parts are not kept for long
		n.sendSnapshot(pk.log)
		return nil
	}
	indices = slices.DeleteFunc(indices, func(i uint64) bool { return i >= uint64(len(s.parts)) })
	if len(indices) > 0 {
		n.sendParts(pk.log, s, indices)
	}
	return nil
}

// arrival is a snapshot of a peer on its way here.
type arrival struct {
	peer      *Peer
	id        uint64 // 0: no part has come yet
	at, until uint64
	parts     []snapshotPart
	came      []bool
	left      int
	progress  time.Duration // when something came or was asked for
	whole     time.Duration // when the last missing part came; 0: one is missing
}

// expectSnapshot asks a peer for a snapshot.
func (p *Peer) expectSnapshot(now time.Duration) {
	p.arrives = &arrival{peer: p, progress: now}
	p.node.transport.To(p.log, binary.AppendUvarint(p.node.packet(packetWant), 0))
}

// handlePart adds a part.
func (p *Peer) handlePart(body []byte) error {
	r := reader{b: body}
	id, at, until, index, count := r.number(), r.number(), r.number(), r.number(), r.number()
	if r.failed || id == 0 || until < at || count > maxParts || count > 0 && index >= count {
		return errMalformed
	}
	if at+1 < p.next { // the missing entries have come meanwhile
		if p.arrives != nil && p.arrives.id == id {
			p.arrives = nil
			p.applyOrAsk()
		}
		return nil
	}
	a := p.arrives
	if a == nil {
		if !p.missing() {
			return nil
		}
		a = &arrival{peer: p}
		p.arrives = a
	}
	if a.id != id {
		if id < a.id {
			return nil // a late part of an older one
		}
		*a = arrival{peer: p, id: id, at: at, until: until, left: int(count), parts: make([]snapshotPart, count), came: make([]bool, count)}
	}
	a.progress = p.node.clock.Now()
	p.head = max(p.head, until)
	if count > 0 && !a.came[index] {
		typ := r.byte()
		a.parts[index], a.came[index] = snapshotPart{typ, append([]byte(nil), r.b...)}, true
		a.left--
	}
	p.applyOrAsk()
	return r.err()
}

// restoreOrAsk restores the snapshot if it is complete, and asks for parts and
// entries that do not come.
func (a *arrival) restoreOrAsk(now time.Duration) {
	p := a.peer
	if a.id != 0 && a.left == 0 {
		if a.whole == 0 {
			a.whole = now
		}
		p.passOver(a.at)
		if a.tailIsHere() {
			p.restore(a)
			return
		}
	}
	if now-a.progress < askEvery {
		return
	}
	a.progress = now
	b := p.node.packet(packetWant)
	switch {
	case a.id == 0:
		b = binary.AppendUvarint(b, 0)
	case a.left > 0:
		b = binary.AppendUvarint(b, a.id)
		for i, came := range a.came {
			if !came && len(b) < p.node.options.Limits.part() {
				b = binary.AppendUvarint(b, uint64(i))
			}
		}
	case now-a.whole > holdFor: // its tail is lost, or too large to hold: ask for a newer snapshot
		p.expectSnapshot(now)
		return
	default: // entries that the snapshot may lack
		b = binary.AppendUvarint(p.node.packet(packetAsk), a.at+1)
		b = binary.AppendUvarint(b, a.until)
	}
	p.node.transport.To(p.log, b)
}

// tailIsHere reports whether all entries have arrived that the snapshot may or
// may not include.
func (a *arrival) tailIsHere() bool {
	for n := a.at + 1; n <= a.until; n++ {
		if a.peer.held.get(n) == nil {
			return false
		}
	}
	return true
}

// passOver continues after entry to, whose effect is in a snapshot. Kinds
// without snapshots are told how many entries up to it are missing, and get the
// others.
func (p *Peer) passOver(to uint64) {
	if missed := p.missedUpTo(to); missed > 0 {
		p.lost += missed
		for _, kind := range p.node.kinds {
			if _, ok := kind.(Snapshotter); !ok {
				kind.Lost(p, missed)
			}
		}
	}
	p.applyHeld(to)
	p.next = max(p.next, to+1)
}

// restore replaces the state made by the peer's entries with a snapshot, and
// continues after it.
func (p *Peer) restore(a *arrival) {
	var tail []entry
	for n := a.at + 1; n <= a.until; n++ {
		tail = append(tail, p.held.takeEntry(n))
	}
	p.arrives, p.hole, p.asked, p.next, p.joiner = nil, 0, 0, a.until+1, joiner{}
	for _, kind := range p.node.kinds {
		if s, ok := kind.(Snapshotter); ok {
			s.Restore(p, a.partsOf(p.node, kind), p.tailOf(kind, tail))
			continue
		}
		for typ, body := range p.tailOf(kind, tail) {
			kind.Apply(p, typ, body)
		}
	}
	p.applyOrAsk()
}

// owed returns the first entry that kinds must get or be told is lost: the next
// one or, if they have got nothing of the log yet, the first that was appended
// since the peer is known, or an earlier one that has arrived.
func (p *Peer) owed() uint64 {
	if p.next > 1 {
		return p.next
	}
	return min(p.since, p.held.lowest())
}

// missedUpTo counts the entries up to number to that are owed and have not
// arrived.
func (p *Peer) missedUpTo(to uint64) (missed uint64) {
	for n := p.owed(); n <= to; n++ {
		if p.held.get(n) == nil {
			missed++
		}
	}
	return missed
}

// applyHeld gives kinds without snapshots the held entries up to number to.
func (p *Peer) applyHeld(to uint64) {
	for n := p.owed(); n <= to; n++ {
		e := p.held.takeEntry(n)
		if e == nil {
			p.joiner = joiner{}
			continue
		}
		whole, ok := p.joiner.join(e)
		if !ok {
			continue
		}
		kind := p.node.options.Kinds[whole.typ()]
		if _, state := kind.(Snapshotter); kind != nil && !state {
			kind.Apply(p, whole.typ(), whole.body())
		}
	}
}

// partsOf yields the parts of one kind.
func (a *arrival) partsOf(n *Node, kind Kind) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, part := range a.parts {
			if n.options.Kinds[part.typ] == kind && len(part.body) > 0 && !yield(part.body) {
				return
			}
		}
	}
}

// tailOf yields the entries of one kind.
func (p *Peer) tailOf(kind Kind, tail []entry) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		var j joiner
		for _, e := range tail {
			whole, ok := j.join(e)
			if ok && p.node.options.Kinds[whole.typ()] == kind && !yield(whole.typ(), whole.body()) {
				return
			}
		}
	}
}
