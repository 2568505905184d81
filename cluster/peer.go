package cluster

import (
	"time"
)

// Peer is another node, identified by its log. A restarted node is a new Peer.
// Kinds may call Log, Name and Address.
type Peer struct {
	node *Node
	log  LogID

	// Guarded by Node.in.
	name, address string
	oldest        byte          // version that it reads
	newest        byte          // the same
	info          []byte        // of its last heartbeat
	told          time.Duration // when that came
	heard         time.Duration // when the last packet of it came
	up            bool
	leaving       bool // it has said goodbye
	ended         bool // another log has taken its name
	incompatible  bool // it writes a version that this node cannot read

	// The part of the log that has arrived. Every entry before next was
	// applied, replaced by a snapshot, or lost. held contains entries behind a
	// hole.
	next    uint64
	head    uint64 // the largest known number
	target  uint64 // must be applied before the peer is up; 0: unknown
	held    window
	hole    time.Duration // since when an entry is missing; 0: none is
	asked   time.Duration // when the node last asked for it
	joiner  joiner        // joins fragments
	arrives *arrival      // a snapshot that is arriving; nil: none
	since   uint64        // entries before this one were appended before the peer was known
	lost    uint64        // number of entries since then that were lost
}

// Log returns the identifier of the peer's log.
func (p *Peer) Log() LogID { return p.log }

// Name returns the peer's name. Kinds may call it.
func (p *Peer) Name() string { return p.name }

// Address returns the peer's Options.Address. Kinds may call it.
func (p *Peer) Address() string { return p.address }

// Left reports whether the peer has said goodbye. Kinds may call it.
func (p *Peer) Left() bool { return p.leaving }

// Missed reports whether the peer has appended entries that have not arrived here. Kinds may
// call it.
func (p *Peer) Missed() bool { return p.missing() }

// missing reports whether known entries have not arrived.
func (p *Peer) missing() bool { return p.next <= p.head }

// handleBatch applies the next entries and holds those behind a hole.
func (p *Peer) handleBatch(body []byte) error {
	err := parseBatch(body, func(n uint64, e entry) {
		p.head = max(p.head, n)
		switch {
		case n < p.next: // a duplicate
		case n == p.next && p.applies():
			p.apply(e)
		default:
			p.held.put(n, e)
		}
	})
	p.applyOrAsk()
	return err
}

// applies reports whether entries can be applied as they come. They cannot
// while a snapshot is arriving, which will replace what they change.
func (p *Peer) applies() bool { return p.arrives == nil }

// applyOrAsk applies entries that no longer have a hole before them, and asks
// for missing ones.
func (p *Peer) applyOrAsk() {
	for p.applies() {
		e := p.held.takeEntry(p.next)
		if e == nil {
			break
		}
		p.apply(e)
	}
	now := p.node.clock.Now()
	if !p.missing() {
		p.hole = 0
	} else if p.hole == 0 {
		p.hole = now
	}
	p.catchUp(now)
	p.rise()
}

// apply gives the next entry to its kind, or the joined entry after its last
// fragment.
func (p *Peer) apply(e entry) {
	p.next++
	whole, ok := p.joiner.join(e)
	if !ok {
		return
	}
	if kind := p.node.options.Kinds[whole.typ()]; kind != nil {
		kind.Apply(p, whole.typ(), whole.body())
	}
}

// rise marks the peer as up once all entries are applied that it had when it
// was first heard, or heard again.
func (p *Peer) rise() {
	if p.up || p.leaving || p.ended || p.target == 0 || p.next < p.target || p.arrives != nil {
		return
	}
	p.up = true
	for _, k := range p.node.kinds {
		k.Up(p)
	}
}

// fall marks the peer as down: it is silent, has left, or was replaced.
func (p *Peer) fall() {
	p.target = 0
	if !p.up {
		return
	}
	p.up = false
	for _, k := range p.node.kinds {
		k.Down(p)
	}
}

// forgetPeer removes the peer.
func (p *Peer) forgetPeer() {
	p.fall()
	for _, k := range p.node.kinds {
		k.Gone(p)
	}
	delete(p.node.peers, p.log)
	if p.node.named[p.name] == p {
		delete(p.node.named, p.name)
	}
}
