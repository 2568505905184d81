package cluster

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options configure a [Node].
type Options struct {
	// Name is this node's name. Two nodes must not have the same name at the
	// same time; a restarted node keeps its name.
	Name string
	// Address tells people where this node is. It may be empty.
	Address string
	// ID identifies the log; 0 means a random one, which is right outside of
	// simulations.
	ID LogID
	// Kinds give entries their meaning, by type. Broadcasts go to the buses of
	// [Node.Bus] unless another kind is given for them.
	Kinds map[byte]Kind
	// Info returns further facts about this node, at most some hundred bytes.
	// They are sent with each heartbeat; see [PeerInfo]. It may be nil.
	Info func() []byte
	// OnConflict is called once, on a goroutine of the clock, if an older node
	// with this name is alive. By then this node has left the cluster. It may
	// be nil.
	OnConflict func(error)
	// Limits bound what the node keeps and sends.
	Limits Limits

	// Version is the newest version of packets that this node reads and writes;
	// 0 is the newest this package knows. A cluster writes a version that all
	// its nodes read.
	Version byte
}

// Node is this process in a cluster. Its methods are safe from any goroutine.
type Node struct {
	// Static after Start.
	options   Options
	id        LogID
	transport Transport
	clock     Clock
	born      time.Duration
	kinds     []Kind // each once, in the order of their types
	spaces    spaces // the kind of broadcasts

	counters counters
	batch    []byte // write's

	// Guarded by mu, which is taken last: kinds append under their own locks.
	mu      sync.Mutex
	log     ownLog
	writing bool // write runs, or is about to
	closed  bool

	// Guarded by in. Kinds are called under it, and may append.
	in       sync.Mutex
	peers    map[LogID]*Peer
	named    map[string]*Peer // whose log counts for a name
	rival    rival
	snapshot *snapshot // the last one; nil: there is none, or it is too old
	ticked   time.Duration
	beat     time.Duration // when the last heartbeat was sent
	stopTick func()

	speaks atomic.Uint32 // the version that is written: all live peers read it
}

// Start joins the cluster that transport reaches.
func Start(t Transport, c Clock, o Options) (*Node, error) {
	if o.Name == "" {
		return nil, errors.New("cluster: Options.Name is empty: give each node a name of its own")
	}
	n := &Node{
		options: o, id: o.ID, transport: t, clock: c, born: c.Now(),
		peers: make(map[LogID]*Peer), named: make(map[string]*Peer),
	}
	n.options.Version = cmp.Or(o.Version, newestVersion)
	n.options.Limits = o.Limits.withDefaults()
	n.log = newOwnLog(n.options.Limits)
	n.speaks.Store(uint32(n.options.Version))
	for n.id == 0 {
		var b [8]byte
		rand.Read(b[:])
		n.id = LogID(binary.BigEndian.Uint64(b[:]))
	}
	n.options.Kinds = maps.Clone(o.Kinds)
	if n.options.Kinds == nil {
		n.options.Kinds = make(map[byte]Kind)
	}
	if n.options.Kinds[TypeBroadcast] == nil {
		n.options.Kinds[TypeBroadcast] = &n.spaces
	}
	for _, typ := range sortedTypes(n.options.Kinds) {
		if !slices.Contains(n.kinds, n.options.Kinds[typ]) {
			n.kinds = append(n.kinds, n.options.Kinds[typ])
		}
	}
	if err := t.Open(n.id, n.receive); err != nil {
		return nil, fmt.Errorf("cluster: connecting: %w", err)
	}
	n.in.Lock()
	defer n.in.Unlock()
	n.ticked, n.beat = n.born, n.born
	n.sendHeartbeat(false)
	n.scheduleTick()
	return n, nil
}

func sortedTypes(kinds map[byte]Kind) []byte {
	types := make([]byte, 0, len(kinds))
	for typ := range kinds {
		types = append(types, typ)
	}
	slices.Sort(types)
	return types
}

// ID returns the identifier of this node's log.
func (n *Node) ID() LogID { return n.id }

// Append adds an entry to this node's log. The entry is the concatenation of
// parts, which are copied. Append returns the entry's number and never waits;
// other nodes get the entry once the transport has taken it. The error is
// ErrBusy, ErrTooLarge or ErrClosed.
func (n *Node) Append(typ byte, parts ...[]byte) (uint64, error) {
	return n.append(false, typ, parts)
}

// AppendState is Append for entries that a [Snapshotter] cannot do without: it
// never returns ErrBusy.
func (n *Node) AppendState(typ byte, parts ...[]byte) (uint64, error) {
	return n.append(true, typ, parts)
}

// Send sends a message to another node, whose [Messenger] gets it unless it is lost. It
// never waits. The error is ErrTooLarge or ErrClosed.
func (n *Node) Send(to LogID, typ byte, data []byte) error {
	switch {
	case len(data) > n.options.Limits.part():
		return ErrTooLarge
	case n.isClosed():
		return ErrClosed
	}
	n.transport.To(to, append(append(n.packet(packetMessage), typ), data...))
	return nil
}

func (n *Node) append(always bool, typ byte, parts [][]byte) (uint64, error) {
	size := 1
	for _, p := range parts {
		size += len(p)
	}
	if size > maxEntry {
		return 0, ErrTooLarge
	}
	e := append(make(entry, 0, size), typ)
	for _, p := range parts {
		e = append(e, p...)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return 0, ErrClosed
	case !always && n.log.wait+size > n.options.Limits.Keep:
		n.counters.busy.Add(1)
		return 0, ErrBusy
	}
	now := n.clock.Now()
	for _, part := range fragments(e, n.options.Limits.part()) {
		n.log.append(now, part)
	}
	n.startWriting(0)
	return n.log.head(), nil
}

// startWriting starts write after d, unless it is started already. The caller
// holds mu.
func (n *Node) startWriting(d time.Duration) {
	if !n.writing && !n.closed && n.log.unsent <= n.log.head() {
		n.writing = true
		n.clock.AfterFunc(d, n.write)
	}
}

// write sends the waiting entries, in batches of those that have gathered
// meanwhile. At most one write runs at a time.
func (n *Node) write() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for !n.closed && n.log.unsent <= n.log.head() {
		var next uint64
		first := n.log.unsent
		n.batch = appendHead(n.batch[:0], n.version(), packetBatch, n.id)
		n.batch, next = n.log.appendBatch(n.batch, first, n.log.head())
		n.mu.Unlock()
		err := n.transport.ToAll(n.batch)
		n.mu.Lock()
		if err != nil {
			n.counters.sendErrors.Add(1)
			n.writing = false
			n.startWriting(retrySendAfter)
			return
		}
		now := n.clock.Now()
		n.log.sent(now, next)
		n.log.trim(now)
		n.counters.sent.Add(next - first)
	}
	n.writing = false
}

// Close tries to send what waits, says goodbye and disconnects. It may block as
// long as the transport does.
func (n *Node) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	rest := n.restOfLog()
	n.mu.Unlock()
	n.in.Lock()
	n.stopTick()
	n.in.Unlock()
	for _, batch := range rest {
		n.transport.ToAll(batch) //nolint:errcheck // the goodbye names the last number, and this node can no longer be asked
	}
	n.sendHeartbeat(true)
	return n.transport.Close()
}

// restOfLog returns batches of the unsent entries. The caller holds mu.
func (n *Node) restOfLog() (batches [][]byte) {
	for from := n.log.unsent; from <= n.log.head(); {
		var batch []byte
		batch, from = n.log.appendBatch(appendHead(nil, n.version(), packetBatch, n.id), from, n.log.head())
		batches = append(batches, batch)
	}
	return batches
}

// head returns the number of this node's last entry.
func (n *Node) head() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.head()
}

func (n *Node) isClosed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}

// rival is another node with this node's name.
type rival struct {
	log         LogID
	first, last time.Duration // when it was heard
}

// counters count since the start.
type counters struct {
	sent, busy, sendErrors              atomic.Uint64
	resent, snapshots, malformed, asked atomic.Uint64
}
