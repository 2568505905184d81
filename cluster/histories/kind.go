package histories

import (
	"errors"
	"iter"
	"sync/atomic"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/history"
)

// Kind connects the store of a node with those of its peers.
type Kind struct {
	store     *history.Store
	node      atomic.Pointer[cluster.Node]
	malformed atomic.Uint64
}

// nodeKind has the methods of a Kind that its node calls, and that programs must not.
type nodeKind Kind

var (
	_ cluster.Heir      = (*nodeKind)(nil)
	_ cluster.Messenger = (*nodeKind)(nil)
	_ cluster.Announcer = (*nodeKind)(nil)
)

// New returns a Kind for one node. The store must have no spaces yet.
func New(s *history.Store) *Kind {
	k := &Kind{store: s}
	s.Share(k.publish, k.appendState)
	s.Sessions().Share((*sessionLink)(k))
	return k
}

// Log returns the identifier for the node, for cluster.Options.ID.
func (k *Kind) Log() cluster.LogID { return cluster.LogID(k.store.Log()) }

// Types returns the kind by the type of its entries, for cluster.Options.Kinds.
func (k *Kind) Types() map[byte]cluster.Kind {
	n := (*nodeKind)(k)
	return map[byte]cluster.Kind{cluster.TypeRecorded: n, cluster.TypeSession: n, cluster.TypeHistory: n}
}

// Start gives the kind its node. Call it once, before anything is recorded.
func (k *Kind) Start(n *cluster.Node) { k.node.Store(n) }

// Malformed returns the number of entries and snapshots that could not be read.
func (k *Kind) Malformed() uint64 { return k.malformed.Load() }

var errNotStarted = errors.New("histories: a message before Kind.Start")

// publish appends an entry to the node's log.
func (k *Kind) publish(parts ...[]byte) error {
	n := k.node.Load()
	if n == nil {
		return errNotStarted
	}
	_, err := n.Append(cluster.TypeRecorded, parts...)
	return err
}

// appendState appends an entry about anything but a message to the node's log.
func (k *Kind) appendState(entry []byte) {
	if n := k.node.Load(); n != nil {
		n.AppendState(cluster.TypeHistory, entry) //nolint:errcheck // only a closed node fails
	}
}

// sessionLink is a Kind as the history.SessionLink of its store.
type sessionLink Kind

// Send implements history.SessionLink.
func (l *sessionLink) Send(to history.LogID, data []byte) (fits bool) {
	n := l.node.Load()
	return n == nil || !errors.Is(n.Send(cluster.LogID(to), cluster.TypeSession, data), cluster.ErrTooLarge)
}

// Announce implements history.SessionLink.
func (l *sessionLink) Announce() {
	if n := l.node.Load(); n != nil {
		n.Announce()
	}
}

// Append implements history.SessionLink.
func (l *sessionLink) Append(entry []byte) {
	if n := l.node.Load(); n != nil {
		n.Append(cluster.TypeSession, entry) //nolint:errcheck // other nodes will ask for the session
	}
}

func logOf(p *cluster.Peer) history.LogID { return history.LogID(p.Log()) }

// Apply implements cluster.Kind.
func (n *nodeKind) Apply(p *cluster.Peer, typ byte, entry []byte) {
	var err error
	switch typ {
	case cluster.TypeHistory:
		err = n.store.ApplyState(logOf(p), entry)
	case cluster.TypeSession:
		err = n.store.Sessions().Apply(logOf(p), entry)
	default:
		err = n.store.Apply(logOf(p), entry)
	}
	if err != nil {
		n.malformed.Add(1)
	}
}

// Lost implements cluster.Kind. It is not called for a kind with snapshots.
func (n *nodeKind) Lost(*cluster.Peer, uint64) {}

// Up implements cluster.Kind.
func (n *nodeKind) Up(p *cluster.Peer) {
	n.store.Up(logOf(p))
	n.store.Sessions().Up(logOf(p))
}

// Down implements cluster.Kind.
func (n *nodeKind) Down(p *cluster.Peer) {
	n.store.Down(logOf(p))
	n.store.Sessions().Down(logOf(p), p.Left() && !p.Missed())
}

// Gone implements cluster.Kind.
func (n *nodeKind) Gone(p *cluster.Peer) { n.store.Gone(logOf(p)) }

// Snapshot implements cluster.Snapshotter.
func (n *nodeKind) Snapshot(size int, yield func(part []byte)) { n.store.Snapshot(size, yield) }

// Inherits implements cluster.Heir.
func (n *nodeKind) Inherits() {}

// Restore implements cluster.Snapshotter.
func (n *nodeKind) Restore(p *cluster.Peer, parts iter.Seq[[]byte], tail iter.Seq2[byte, []byte]) {
	if n.store.Restore(logOf(p), parts) != nil {
		n.malformed.Add(1)
	}
	for typ, entry := range tail {
		n.Apply(p, typ, entry)
	}
}

// Message implements cluster.Messenger.
func (n *nodeKind) Message(p *cluster.Peer, _ byte, data []byte) {
	if n.store.Sessions().Receive(logOf(p), data) != nil {
		n.malformed.Add(1)
	}
}

// Announce implements cluster.Announcer.
func (n *nodeKind) Announce() []byte { return n.store.Sessions().Stable() }

// Announced implements cluster.Announcer.
func (n *nodeKind) Announced(p *cluster.Peer, data []byte) {
	if n.store.Sessions().Announced(logOf(p), data) != nil {
		n.malformed.Add(1)
	}
}
