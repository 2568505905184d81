package cluster

import (
	"time"
)

// Peer is another node, known by its log. A restarted node is another Peer.
// Its fields are the node's; kinds may read its names.
type Peer struct {
	node *Node
	log  LogID

	// Guarded by Node.in.
	name, address string
	oldest        byte          // version that it reads
	newest        byte          // the same
	info          []byte        // of its last heartbeat
	heard         time.Duration // when the last packet of it came
	up            bool
	down          time.Duration // since when it is not; of a new peer since it is known
	leaving       bool          // it has said goodbye
	ended         bool          // another log has taken its name
	incompatible  bool          // it writes a version that this node cannot read

	// The log as far as it is here. Every entry before next was applied, or
	// replaced by a snapshot, or lost. held are entries behind a hole.
	next    uint64
	head    uint64 // the largest number that is known of
	target  uint64 // what has to be applied before it is up; 0: unknown
	held    window
	hole    time.Duration // since when something is missing; 0: nothing is
	asked   time.Duration // when it was last asked for that
	joiner  joiner        // of fragments that were applied
	arrives *arrival      // a snapshot on its way; nil: none
	since   uint64        // entries before this were appended before it was known
	lost    uint64        // entries since then that could not be had
}

// Log returns the identifier of the peer's log.
func (p *Peer) Log() LogID { return p.log }

// Name returns the peer's name. Kinds may call it.
func (p *Peer) Name() string { return p.name }

// Address returns what the peer says of where it is. Kinds may call it.
func (p *Peer) Address() string { return p.address }

// missing reports whether entries that are known of are not here.
func (p *Peer) missing() bool { return p.next <= p.head }

// handleBatch applies what is next and holds what is behind a hole.
func (p *Peer) handleBatch(body []byte) error {
	err := parseBatch(body, func(n uint64, e entry) {
		p.head = max(p.head, n)
		switch {
		case n < p.next: // it came twice
		case n == p.next && p.applies():
			p.apply(e)
		default:
			p.held.put(n, e)
		}
	})
	p.applyOrAsk()
	return err
}

// applies reports whether entries can be applied as they come: not while a
// snapshot is awaited that will replace what they change.
func (p *Peer) applies() bool { return p.arrives == nil }

// applyOrAsk applies what no longer has a hole before it, and asks for what is
// missing.
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

// apply gives the next entry to its kind, fragments once they are whole.
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

// rise makes the peer up once everything is applied that it had when it was
// heard (again).
func (p *Peer) rise() {
	if p.up || p.leaving || p.ended || p.target == 0 || p.next < p.target || p.arrives != nil {
		return
	}
	p.up = true
	for _, k := range p.node.kinds {
		k.Up(p)
	}
}

// fall makes the peer down: it is silent, has left, or was replaced.
func (p *Peer) fall() {
	p.target = 0
	if !p.up {
		return
	}
	p.up, p.down = false, p.node.clock.Now()
	for _, k := range p.node.kinds {
		k.Down(p)
	}
}

// forgetPeer is the end of the peer.
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
