package owners

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// RenewEvery is how often a node renews its lease.
	RenewEvery = 2 * time.Second
	// GiveUpAfter is how long after the start of its last renewal a node stops its
	// instances. When the server that leads the JetStream group dies, nobody can write
	// until there is a new leader: 4.3 to 6.4 s as measured, at most 9 s. With 7 s and a
	// renewal every 3 s, the surviving nodes stopped their instances in half of such
	// crashes.
	GiveUpAfter = 11 * time.Second
	// LeaseTime is how long the others wait for a renewal before they judge a node dead.
	// The node has LeaseTime - GiveUpAfter to stop its instances.
	LeaseTime = 14 * time.Second
	// Turn is how long each candidate has before the next one takes an instance.
	Turn = 2 * time.Second
	// requestTimeout bounds one request to the store. renewTimeout bounds a renewal, which
	// is then sent again, because requests sent while there is no leader are never answered.
	requestTimeout = 3 * time.Second
	renewTimeout   = 1500 * time.Millisecond
	// lookEvery is how often a node looks for instances without an owner, in addition to
	// every change in the store.
	lookEvery = time.Second
	// sweepEvery is how often a node looks for owner keys of instances that are gone.
	sweepEvery = time.Minute
	// claims bounds how many instances a node claims at the same time.
	claims = 32
)

// Why an instance has to stop: the cause of the context that Options.Run was given.
var (
	// ErrReleased: this node hands it over. It still owns it, so state can be saved.
	ErrReleased = errors.New("owners: the instance is handed over")
	// ErrLost: this node no longer owns it, or cannot know whether it does. Saving fails.
	ErrLost = errors.New("owners: the instance has another owner")
)

// Options of a node. Node and Run are needed.
type Options struct {
	// Node is the name of this node. Two must not have the same.
	Node string
	// Address is where other nodes reach this one; their Owner returns it.
	Address string
	// Run runs an instance that this node has come to own, on a goroutine of its own,
	// until ctx ends, and returns when the instance has stopped. The cause of ctx is
	// ErrReleased or ErrLost. For one instance, calls never overlap.
	Run func(ctx context.Context, id string, o *Ownership)
	// Log is called with what goes wrong with the lease and the store, one line each. It
	// may be nil.
	Log func(line string, err error)
}

// Owner is the node that owns an instance.
type Owner struct {
	Node    string
	Address string
	// Self reports whether it is this node.
	Self bool
}

// Owners is one node's part in the decision. Its methods are safe from any goroutine.
type Owners struct {
	// Static after Start.
	store   Store
	options Options
	ctx     context.Context
	cancel  context.CancelFunc
	work    sync.WaitGroup
	wake    chan struct{} // has a token when something has changed
	slots   chan struct{} // of claims
	renewal chan struct{} // has a token during a renewal: one at a time

	mu sync.Mutex

	// Guarded by mu.
	lease    lease
	nodes    view[nodeRecord]
	owners   view[ownerRecord]
	all      map[string]*instance
	draining bool
}

// instance is one that this node competes for, or still runs.
type instance struct {
	id      string
	wanted  bool      // Want was called, and not Forget
	waiting time.Time // since when nobody owns it; zero: somebody does
	busy    bool      // a claim or a release is under way
	run     *run      // nil: it does not run here
	past    uint64    // revisions of its key up to this one are of runs that are over
}

// run is the time during which this node owns an instance.
type run struct {
	*Ownership
	done    chan struct{}
	claimed uint64 // the revision at which this node became the owner
}

// Start begins to hold a lease. It returns at once; the lease is taken as soon as the
// store can be reached.
func Start(store Store, o Options) *Owners {
	w := &Owners{
		store: store, options: o, wake: make(chan struct{}, 1), slots: make(chan struct{}, claims), renewal: make(chan struct{}, 1),
		all: make(map[string]*instance),
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.work.Go(w.hold)
	w.work.Go(func() { watch(w, nodePrefix, &w.nodes) })
	w.work.Go(func() { watch(w, ownerPrefix, &w.owners) })
	w.work.Go(w.look)
	return w
}

// Want has this node compete for an instance.
func (w *Owners) Want(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in := w.all[id]
	if in == nil {
		in = &instance{id: id}
		w.all[id] = in
	}
	if !in.wanted {
		in.wanted = true
		w.kick()
	}
}

// Forget stops competing for an instance that must not run anywhere, stops it if it
// runs here, and then removes its owner from the store.
func (w *Owners) Forget(ctx context.Context, id string) error {
	w.mu.Lock()
	in := w.all[id]
	if in != nil {
		in.wanted = false
	}
	w.mu.Unlock()
	if in == nil {
		return nil
	}
	err := w.release(ctx, in, true)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropUnwanted(in)
	return err
}

// dropUnwanted drops an instance that this node neither competes for nor runs. mu is
// held.
func (w *Owners) dropUnwanted(in *instance) {
	if !in.wanted && !in.busy && in.run == nil {
		delete(w.all, in.id)
	}
}

// Owner returns the node that owns an instance; ok is false if no live node does, as far
// as this node knows.
func (w *Owners) Owner(id string) (o Owner, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rec, known := w.owners.keys[ownerPrefix+id]
	if !known || !w.alive(rec.value, time.Now()) {
		return Owner{}, false
	}
	name := rec.value.Node
	return Owner{Node: name, Address: w.nodes.keys[nodePrefix+name].value.Address, Self: name == w.options.Node}, true
}

// Reachable reports whether this node can own instances: it holds a lease, so it has
// reached the store within GiveUpAfter.
func (w *Owners) Reachable() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lease.valid(time.Now())
}

// Nodes returns the names of the nodes that have a lease, as far as this node knows.
func (w *Owners) Nodes() (names []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, n := range w.nodes.keys {
		if time.Since(n.at) < LeaseTime {
			names = append(names, key[len(nodePrefix):])
		}
	}
	return names
}

// Drain hands all instances over to other nodes and takes no more. The lease is kept
// until Close.
func (w *Owners) Drain(ctx context.Context) error {
	w.mu.Lock()
	w.draining = true
	all := slices.Collect(maps.Values(w.all))
	w.mu.Unlock()
	errs := make([]error, len(all)+1)
	errs[len(all)] = w.renew(ctx) // tells the others, so that none waits for this node's turn
	var released sync.WaitGroup
	for i, in := range all {
		released.Go(func() { errs[i] = w.release(ctx, in, false) })
	}
	released.Wait()
	return errors.Join(errs...)
}

// release stops an instance that runs here, and then clears its owner or removes its key.
func (w *Owners) release(ctx context.Context, in *instance, remove bool) error {
	w.mu.Lock()
	in.busy = true
	r := in.run
	w.mu.Unlock()
	defer w.setIdle(in)
	if r == nil {
		return nil
	}
	r.cancel(ErrReleased)
	select {
	case <-r.done:
		return r.release(ctx, remove)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// setIdle ends a claim or a release.
func (w *Owners) setIdle(in *instance) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in.busy = false
	w.kick()
}

// ignore returns nil for the errors that mean that somebody else changed the key.
func ignore(err error) error {
	if errors.Is(err, ErrKeyRevision) || errors.Is(err, ErrKeyNotFound) {
		return nil
	}
	return err
}

// Close stops the instances that run here with ErrLost, gives the lease back if
// the store can be reached before ctx ends, and waits for its goroutines.
func (w *Owners) Close(ctx context.Context) error {
	w.mu.Lock()
	w.draining = true
	runs := w.loseAll()
	l := w.lease
	w.mu.Unlock()
	for _, r := range runs {
		<-r.done
	}
	w.cancel()
	w.work.Wait()
	if l.life == "" {
		return nil
	}
	return ignore(w.store.Delete(ctx, nodePrefix+w.options.Node, l.revision))
}

// loseAll tells all instances that run here to stop. mu is held.
func (w *Owners) loseAll() (runs []*run) {
	for _, in := range w.all {
		if in.run != nil {
			in.run.cancel(ErrLost)
			runs = append(runs, in.run)
		}
	}
	return runs
}

// kick wakes look.
func (w *Owners) kick() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *Owners) log(line string, err error) {
	if w.options.Log != nil && w.ctx.Err() == nil {
		w.options.Log(line, err)
	}
}
