// Package membership watches this process as a node of a cluster: which other
// nodes there are, which of their messages are late or lost, and whether this node is
// ready for clients.
//
// It samples the node once a second. Readers such as /metrics, /readyz and the
// observer get the last sample, and never wait for the network.
package membership

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/internal/logging"
)

const (
	// lookEvery is how often the node is sampled, joinEvery how often before it is
	// ready.
	lookEvery = time.Second
	joinEvery = 50 * time.Millisecond
	// AloneAfter is how long a node waits to hear from the others before it is ready
	// without them: enough for routes to be established and five heartbeats.
	AloneAfter = 5 * time.Second
	// syncWithin is how long it waits to catch up with the other nodes and for the
	// store: enough for a snapshot of 600 MB.
	syncWithin = 30 * time.Second
)

// ErrJoining is the error of a node that has just started and is not ready. It may be
// wrapped with what the node waits for.
var ErrJoining = errors.New("joining the cluster")

// Node is what a Watcher samples; *cluster.Node is one.
type Node interface{ Stats() cluster.Stats }

// Link is how the node reaches the others.
type Link struct {
	// Connected reports whether NATS is reached; an embedded server always is.
	Connected bool
	// Reconnects counts connections after the first. Dropped counts how often received
	// messages were dropped because too many were waiting.
	Reconnects, Dropped uint64
	// Routes are the other servers that an embedded one reaches.
	Routes int
}

// Options of a [Watcher].
type Options struct {
	// Name is the name of this node, Cluster that of the cluster.
	Name, Cluster string
	// Size is the number of nodes; 0 means unknown.
	Size int
	// Link samples the transport; it must not block.
	Link func() Link
	// Store samples the store that the nodes share; it must not block. May be nil.
	Store func() Store
	// Forwards samples what this node forwards; it must not block. May be nil.
	Forwards func() Forwards
	// Joined is called once, when the node is ready; it must not block. May be nil.
	Joined func()
	// Logger gets nodes that come and go; nil writes to standard error.
	Logger *zerolog.Logger
}

// Store is the state of the store that the nodes share, as this node sees it.
type Store struct {
	// Trouble is why requests to it fail; empty if they succeed.
	Trouble string
	// Behind says what this node's replica of it lacks; empty if it lacks nothing, or
	// this node has none.
	Behind string
}

// Forwards counts the clients that nodes pass on to each other. The fields are those of
// forward.Stats.
type Forwards struct {
	Open                                  int64
	Connections, Requests                 uint64
	Failures                              uint64
	ReceivedConnections, ReceivedRequests uint64
}

// View is a sample of a watcher. It must not be modified.
type View struct {
	// At is when the sample was taken, Started when the watcher started.
	At, Started   time.Time
	Name, Cluster string
	Link          Link
	Store         *Store // nil: there is none
	Forwards      Forwards
	Stats         cluster.Stats
	// Rate is how many entries this node has published per second since the previous
	// view.
	Rate float64
	// Peers are the other nodes, by name.
	Peers []Peer
}

// Watcher watches a node until Close. Its methods are safe from any goroutine.
type Watcher struct {
	// Static after Watch.
	node    Node
	options Options
	log     *logging.Log
	started time.Time
	stop    chan struct{}
	work    sync.WaitGroup

	view  atomic.Pointer[View]
	ready atomic.Bool

	before *View // owned by run
}

// Watch starts watching a node that has just started.
func Watch(n Node, o Options) *Watcher {
	w := &Watcher{node: n, options: o, log: logging.NewLog(o.Logger), started: time.Now(), stop: make(chan struct{})}
	w.look()
	w.work.Go(w.run)
	return w
}

// Close stops the watcher.
func (w *Watcher) Close() {
	close(w.stop)
	w.work.Wait()
	w.log.Flush()
}

// View returns the last sample.
func (w *Watcher) View() *View { return w.view.Load() }

// Ready returns [ErrJoining] until the node has joined, and nil from then on: a
// node that loses the others serves its own clients.
func (w *Watcher) Ready() error {
	if w.ready.Load() {
		return nil
	}
	if v := w.View(); v.Store != nil && w.others(v) && v.Store.waits() != "" {
		return fmt.Errorf("%w: waiting for the store of instances: %s", ErrJoining, v.Store.waits())
	}
	return ErrJoining
}

// waits returns why the store is not ready, "" if it is.
func (s *Store) waits() string { return cmp.Or(s.Trouble, s.Behind) }

func (w *Watcher) run() {
	every := joinEvery
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-ticker.C:
		}
		w.look()
		if every == joinEvery && w.ready.Load() {
			every = lookEvery
			ticker.Reset(every)
		}
	}
}

func (w *Watcher) look() {
	v := &View{At: time.Now(), Started: w.started, Name: w.options.Name, Cluster: w.options.Cluster, Link: w.options.Link(), Stats: w.node.Stats()}
	if w.options.Store != nil {
		v.Store = new(w.options.Store())
	}
	if w.options.Forwards != nil {
		v.Forwards = w.options.Forwards()
	}
	v.Peers = PeersOf(v.Stats.Peers, v.At)
	v.compare(w.before)
	w.view.Store(v)
	w.logChanges(v)
	if !w.ready.Load() && w.joined(v) {
		w.ready.Store(true)
		w.log.Info("joined the cluster").Str("cluster", v.Cluster).Str("node", v.Name).Int("others", v.count(Up)).Write()
		if w.options.Joined != nil {
			w.options.Joined()
		}
	}
	w.before = v
}

// joined reports whether the node is ready for clients.
func (w *Watcher) joined(v *View) bool {
	if time.Since(w.started) >= syncWithin {
		return true
	}
	return w.others(v) && (v.Store == nil || v.Store.waits() == "")
}

// others reports whether the node has caught up with the others: with all of them or,
// after AloneAfter, with those that it hears.
func (w *Watcher) others(v *View) bool {
	others := 1
	if w.options.Size > 0 {
		others = w.options.Size - 1
	}
	return v.count(Syncing) == 0 && (v.count(Up) >= others || time.Since(w.started) >= AloneAfter)
}

func (v *View) count(s State) (n int) {
	for i := range v.Peers {
		if v.Peers[i].State == s {
			n++
		}
	}
	return n
}
