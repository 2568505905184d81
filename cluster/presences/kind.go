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

// Kind is the presences of a node. What peers have in a space without a tracker
// is kept until there is one.
//
// Locks: the node's, then mu, then those of trackers.
type Kind struct {
	node      atomic.Pointer[cluster.Node]
	malformed atomic.Uint64

	mu       sync.Mutex
	trackers map[string]*presence.Tracker // by space, guarded by mu
	// next are those that take the place of one when that is closed, by space in their order, guarded by mu.
	next  map[string][]*presence.Tracker
	peers map[*cluster.Peer]*peer // guarded by mu, and what they have too
}

var _ cluster.Snapshotter = (*Kind)(nil)

// peer is what a peer has.
type peer struct {
	up     bool
	spaces map[string]*share
}

// share is what a peer has in a space: in a tracker, or apart while there is
// none.
type share struct {
	replica *presence.Replica // nil: there is no tracker
	roster  *presence.Roster  // nil: there is
}

// New returns a Kind for one node.
func New() *Kind {
	return &Kind{trackers: make(map[string]*presence.Tracker), next: make(map[string][]*presence.Tracker), peers: make(map[*cluster.Peer]*peer)}
}

// Types returns the kind under the types of its entries, as cluster.Options.Kinds has
// them.
func (k *Kind) Types() map[byte]cluster.Kind {
	return map[byte]cluster.Kind{cluster.TypeJoin: k, cluster.TypeLeave: k}
}

// Start gives the kind its node. It is called once, before the first tracker is
// made.
func (k *Kind) Start(n *cluster.Node) { k.node.Store(n) }

// Malformed returns how many entries and snapshots could not be read.
func (k *Kind) Malformed() uint64 { return k.malformed.Load() }

// Distinct reports whether the number that n puts into its phx_refs is not that
// of a peer. If it is, the node should leave the cluster and start again, which draws another
// log and with it another number, before it serves anybody.
func Distinct(n *cluster.Node) bool {
	return !slices.ContainsFunc(n.Stats().Peers, func(p cluster.PeerInfo) bool { return number(p.Log) == number(n.ID()) })
}

// number is what a node puts into its phx_refs.
func number(id cluster.LogID) uint16 { return uint16(id >> 48) }

var errNotStarted = errors.New("presences: a tracker before Kind.Start")

// open gives a space its tracker, and the tracker what peers have: at once, or when the one
// before it is closed.
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

// setTracker makes t the tracker of a space. Called with mu.
func (k *Kind) setTracker(space string, t *presence.Tracker) {
	k.trackers[space] = t
	for _, p := range k.peers {
		if s := p.spaces[space]; s != nil {
			s.moveInto(t, p.up)
		}
	}
}

// close takes the tracker from a space. What peers have there is kept for the
// next one.
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

// Apply is cluster.Kind's.
func (k *Kind) Apply(p *cluster.Peer, typ byte, body []byte) {
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

// Snapshot is cluster.Snapshotter's.
func (k *Kind) Snapshot(size int, yield func(part []byte)) {
	k.mu.Lock()
	trackers := maps.Clone(k.trackers)
	k.mu.Unlock()
	w := partWriter{size: size, yield: yield}
	for _, space := range slices.Sorted(maps.Keys(trackers)) {
		w.space(space)
		trackers[space].Own(w.presence)
	}
	w.flush()
}

// Restore is cluster.Snapshotter's.
func (k *Kind) Restore(p *cluster.Peer, parts iter.Seq[[]byte], tail iter.Seq2[byte, []byte]) {
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
		rosters.of(space) // those of which nothing is left
	}
	for space, roster := range rosters {
		s := from.share(k, space)
		s.replace(roster)
		from.forgetEmpty(space, s)
	}
}

// Lost is cluster.Kind's. A kind with snapshots is not told.
func (k *Kind) Lost(*cluster.Peer, uint64) {}

// Up is cluster.Kind's.
func (k *Kind) Up(p *cluster.Peer) { k.eachReplica(p, true, (*presence.Replica).Up) }

// Down is cluster.Kind's.
func (k *Kind) Down(p *cluster.Peer) { k.eachReplica(p, false, (*presence.Replica).Down) }

// Gone is cluster.Kind's.
func (k *Kind) Gone(p *cluster.Peer) {
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

// share returns what the peer has in a space.
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

// forgetEmpty forgets a space in which the peer has nobody.
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
