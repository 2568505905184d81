package cluster

import (
	"encoding/binary"
	"time"
)

// catchUp asks for missing entries: at once, and again until they arrive. The
// peer sends a snapshot if it no longer keeps them. If they have been missing for
// too long, the node asks for one.
func (p *Peer) catchUp(now time.Duration) {
	if p.arrives != nil {
		p.arrives.restoreOrAsk(now)
		return
	}
	if p.hole == 0 || p.ended || p.asked != 0 && now-p.asked < askEvery {
		return
	}
	p.asked = now
	p.node.counters.asked.Add(1)
	if now-p.hole > holdFor {
		p.expectSnapshot(now)
		return
	}
	b := p.node.packet(packetAsk)
	b = binary.AppendUvarint(b, p.next)
	p.node.transport.To(p.log, binary.AppendUvarint(b, p.holeEnd()))
}

// holeEnd returns the last entry of the first hole.
func (p *Peer) holeEnd() uint64 { return min(p.head, p.held.lowest()-1) }

// handleAsk sends entries again, or a snapshot if they are no longer kept.
func (n *Node) handleAsk(pk received) error {
	r := reader{b: pk.body}
	from, to := r.number(), r.number()
	if r.failed || from == 0 {
		return errMalformed
	}
	batches, ok := n.again(from, to)
	if !ok {
		n.sendSnapshot(pk.log)
		return nil
	}
	for _, b := range batches {
		n.transport.To(pk.log, b)
	}
	return nil
}

// again makes batches of entries that have been sent before. ok is false if
// they are no longer kept.
func (n *Node) again(from, to uint64) (batches [][]byte, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	to = min(to, n.log.unsent-1) // the rest comes by itself
	if from > to {
		return nil, true
	}
	if !n.log.keeps(from) {
		return nil, false
	}
	first := from
	for size := 0; from <= to && size < resendBytes; {
		var b []byte
		b, from = n.log.appendBatch(appendHead(nil, n.version(), packetBatch, n.id), from, to)
		batches, size = append(batches, b), size+len(b)
	}
	n.counters.resent.Add(from - first)
	return batches, true
}

// packet returns the head of a packet of this node.
func (n *Node) packet(kind packetKind) []byte {
	return appendHead(make([]byte, 0, 64), n.version(), kind, n.id)
}
