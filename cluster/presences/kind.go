package presences

import (
	"errors"
	"iter"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/presence"
)

// Kind connects the trackers of a node with those of its peers. Presences of peers in a space without a tracker are
// kept until there is one.
//
// Lock order: the node's, then mu, then those of trackers.
type Kind struct {
	node      atomic.Pointer[cluster.Node]
	malformed atomic.Uint64

	mu       sync.Mutex
	trackers map[string]*presence.Tracker // by space, guarded by mu
	// next are trackers that wait until the present one is closed, by space in order, guarded by mu.
	next  map[string][]*presence.Tracker
	peers map[*cluster.Peer]*peer // guarded by mu, including their contents
}

// nodeKind is a Kind as its node calls it: programs do not.
type nodeKind Kind

var _ cluster.Snapshotter = (*nodeKind)(nil)

// Apply implements cluster.Kind.
func (n *nodeKind) Apply(p *cluster.Peer, typ byte, body []byte) { (*Kind)(n).apply(p, typ, body) }

// Lost implements cluster.Kind. A kind with snapshots is not told.
func (n *nodeKind) Lost(*cluster.Peer, uint64) {}

// Up implements cluster.Kind.
func (n *nodeKind) Up(p *cluster.Peer) { (*Kind)(n).eachReplica(p, true, (*presence.Replica).Up) }

// Down implements cluster.Kind.
func (n *nodeKind) Down(p *cluster.Peer) {
	(*Kind)(n).eachReplica(p, false, (*presence.Replica).Down)
}

// Gone implements cluster.Kind.
func (n *nodeKind) Gone(p *cluster.Peer) { (*Kind)(n).gone(p) }

// Snapshot implements cluster.Snapshotter.
func (n *nodeKind) Snapshot(size int, yield func(part []byte)) { (*Kind)(n).snapshot(size, yield) }

// Restore implements cluster.Snapshotter.
func (n *nodeKind) Restore(p *cluster.Peer, parts iter.Seq[[]byte], tail iter.Seq2[byte, []byte]) {
	(*Kind)(n).restore(p, parts, tail)
}

// peer holds the presences of a peer.
type peer struct {
	up     bool
	spaces map[string]*share
}

// share holds the presences of a peer in one space: in a tracker, or in a roster while there is none.
type share struct {
	replica *presence.Replica // nil if there is no tracker
	roster  *presence.Roster  // nil if there is a tracker
}

// New returns a Kind for one node.
func New() *Kind {
	return &Kind{trackers: make(map[string]*presence.Tracker), next: make(map[string][]*presence.Tracker), peers: make(map[*cluster.Peer]*peer)}
}

// Types returns the kind by the types of its entries, for cluster.Options.Kinds.
func (k *Kind) Types() map[byte]cluster.Kind {
	return map[byte]cluster.Kind{cluster.TypeJoin: (*nodeKind)(k), cluster.TypeLeave: (*nodeKind)(k)}
}

// Start gives the kind its node. Call it once, before creating the first tracker.
func (k *Kind) Start(n *cluster.Node) { k.node.Store(n) }

// Malformed returns the number of entries and snapshots that could not be read.
func (k *Kind) Malformed() uint64 { return k.malformed.Load() }

// Distinct reports whether the number that n puts into its phx_refs differs from those of its peers. If not, the node
// should leave the cluster and start again before it serves clients: a new log gives it a new number.
func Distinct(n *cluster.Node) bool {
	return !slices.ContainsFunc(n.Stats().Peers, func(p cluster.PeerInfo) bool { return number(p.Log) == number(n.ID()) })
}

// number returns the number that a node puts into its phx_refs.
func number(id cluster.LogID) uint16 { return uint16(id >> 48) }

var errNotStarted = errors.New("presences: a tracker before Kind.Start")

// open makes t the tracker of a space and gives it the presences of peers: at once, or when the tracker before it is
// closed.
func (k *Kind) open(space string, t *presence.Tracker) (node uint16, err error) {
	n := k.node.Load()
	if n == nil {
		return 0, errNotStarted
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.trackers[space] != nil {
		k.next[space] = append(k.next[space], t)
	} else {
		k.setTracker(space, t)
	}
	return number(n.ID()), nil
}

// setTracker makes t the tracker of a space. The caller holds mu.
func (k *Kind) setTracker(space string, t *presence.Tracker) {
	k.trackers[space] = t
	for _, p := range k.peers {
		if s := p.spaces[space]; s != nil {
			s.moveInto(t, p.up)
		}
	}
}

// close removes the tracker of a space. The presences of peers are kept for the next one.
func (k *Kind) close(space string, t *presence.Tracker) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.trackers[space] != t {
		k.next[space] = slices.DeleteFunc(k.next[space], func(other *presence.Tracker) bool { return other == t })
		if len(k.next[space]) == 0 {
			delete(k.next, space)
		}
		return
	}
	delete(k.trackers, space)
	for _, p := range k.peers {
		if s := p.spaces[space]; s != nil {
			s.roster, s.replica = s.replica.Roster(), nil
			p.forgetEmpty(space, s)
		}
	}
	if next := k.next[space]; len(next) > 0 {
		if k.next[space] = next[1:]; len(next) == 1 {
			delete(k.next, space)
		}
		k.setTracker(space, next[0])
	}
}

// apply takes in an entry of p.
func (k *Kind) apply(p *cluster.Peer, typ byte, body []byte) {
	e, err := parseEntry(body)
	if err != nil {
		k.malformed.Add(1)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	from := k.peer(p)
	s := from.share(k, e.space)
	e.change(typ, s.list())
	from.forgetEmpty(e.space, s)
}

// snapshot yields the presences of this node.
func (k *Kind) snapshot(size int, yield func(part []byte)) {
	trackers := make(map[string][]*presence.Tracker)
	k.mu.Lock()
	for space, t := range k.trackers {
		trackers[space] = append([]*presence.Tracker{t}, k.next[space]...) // peers are told what those that wait have, too
	}
	k.mu.Unlock()
	w := newListWriter(size, yield)
	for _, space := range slices.Sorted(maps.Keys(trackers)) {
		w.space(space)
		for _, t := range trackers[space] {
			t.Own(w.presence)
		}
	}
	w.Flush()
}

// restore replaces what p has.
func (k *Kind) restore(p *cluster.Peer, parts iter.Seq[[]byte], tail iter.Seq2[byte, []byte]) {
	rosters, err := readParts(parts)
	if err != nil {
		k.malformed.Add(1)
	}
	for typ, body := range tail {
		e, err := parseEntry(body)
		if err != nil {
			k.malformed.Add(1)
			continue
		}
		e.change(typ, rosters.of(e.space))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	from := k.peer(p)
	for space := range from.spaces {
		rosters.of(space) // an empty roster for spaces that are not in the snapshot
	}
	for space, roster := range rosters {
		s := from.share(k, space)
		s.replace(roster)
		from.forgetEmpty(space, s)
	}
}

// gone forgets p.
func (k *Kind) gone(p *cluster.Peer) {
	k.eachReplica(p, false, (*presence.Replica).Gone)
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.peers, p)
}

func (k *Kind) eachReplica(p *cluster.Peer, up bool, turn func(*presence.Replica)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	of := k.peer(p)
	of.up = up
	for _, s := range of.spaces {
		if s.replica != nil {
			turn(s.replica)
		}
	}
}

func (k *Kind) peer(p *cluster.Peer) *peer {
	of := k.peers[p]
	if of == nil {
		of = &peer{spaces: make(map[string]*share)}
		k.peers[p] = of
	}
	return of
}

// share returns the peer's share of a space.
func (p *peer) share(k *Kind, space string) *share {
	s := p.spaces[space]
	if s == nil {
		s = &share{roster: &presence.Roster{}}
		p.spaces[space] = s
		if t := k.trackers[space]; t != nil {
			s.moveInto(t, p.up)
		}
	}
	return s
}

// forgetEmpty forgets a space in which the peer has no presences.
func (p *peer) forgetEmpty(space string, s *share) {
	if s.roster != nil && s.roster.Empty() {
		delete(p.spaces, space)
	}
}

// moveInto moves the share into a tracker.
func (s *share) moveInto(t *presence.Tracker, up bool) {
	s.replica = t.NewReplica()
	s.replica.Replace(s.roster)
	s.roster = nil
	if up {
		s.replica.Up()
	}
}

func (s *share) list() list {
	if s.replica != nil {
		return s.replica
	}
	return s.roster
}

func (s *share) replace(by *presence.Roster) {
	if s.replica != nil {
		s.replica.Replace(by)
	} else {
		s.roster = by
	}
}
