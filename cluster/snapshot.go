package cluster

import (
	"encoding/binary"
	"iter"
	"slices"
	"time"
)

// snapshot is this node's state in parts, as it is sent to peers that cannot be
// sent all entries. It has every change up to entry at, and none after until;
// of those between, it may or may not have some.
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

// takeSnapshot returns one that was just made, or makes one. Called with in.
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
		s.parts = append(s.parts, snapshotPart{typ, nil}) // an empty state is one too
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

// sendParts sends some parts now and the rest later, at a pace that leaves the
// network to others.
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
	progress  time.Duration // when something came, or was asked for
	whole     time.Duration // when it was first seen that no part is missing; 0: one is
}

// expectSnapshot asks a peer for a snapshot.
func (p *Peer) expectSnapshot(now time.Duration) {
	p.arrives = &arrival{peer: p, progress: now}
	p.node.transport.To(p.log, binary.AppendUvarint(p.node.packet(packetWant), 0))
}

// handlePart takes a part in.
func (p *Peer) handlePart(body []byte) error {
	r := reader{b: body}
	id, at, until, index, count := r.number(), r.number(), r.number(), r.number(), r.number()
	if r.failed || id == 0 || until < at || count > maxParts || count > 0 && index >= count {
		return errMalformed
	}
	if at+1 < p.next { // what was missing has come meanwhile
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

// restoreOrAsk restores the snapshot when it is complete, and asks for what does
// not come.
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
	case now-a.whole > holdFor: // its tail is lost, or more than is held: another one has another tail
		p.expectSnapshot(now)
		return
	default: // entries that the snapshot may lack
		b = binary.AppendUvarint(p.node.packet(packetAsk), a.at+1)
		b = binary.AppendUvarint(b, a.until)
	}
	p.node.transport.To(p.log, b)
}

// tailIsHere reports whether all entries are here that the snapshot may or may
// not have.
func (a *arrival) tailIsHere() bool {
	for n := a.at + 1; n <= a.until; n++ {
		if a.peer.held.get(n) == nil {
			return false
		}
	}
	return true
}

// passOver goes on behind entry number to, whose effect a snapshot has. Kinds
// without snapshots get what is here of the entries up to it, once they are
// told how many are missing.
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

// restore replaces what the peer's entries have made by a snapshot, and goes on
// behind it.
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

// owed is the first entry that a kind has a right to: the next one, and of a
// log of which it has had nothing yet, the first one that was appended since the
// peer is known, or is here all the same.
func (p *Peer) owed() uint64 {
	if p.next > 1 {
		return p.next
	}
	return min(p.since, p.held.lowest())
}

// missedUpTo counts the entries up to number to that are owed and not here.
func (p *Peer) missedUpTo(to uint64) (missed uint64) {
	for n := p.owed(); n <= to; n++ {
		if p.held.get(n) == nil {
			missed++
		}
	}
	return missed
}

// applyHeld gives kinds without snapshots what is held of the entries up to
// number to.
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

// partsOf are the parts of one kind.
func (a *arrival) partsOf(n *Node, kind Kind) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, part := range a.parts {
			if n.options.Kinds[part.typ] == kind && len(part.body) > 0 && !yield(part.body) {
				return
			}
		}
	}
}

// tailOf are the entries of one kind.
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
