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
	// GiveUpAfter is how long after the start of its last renewal a node stops
	// its instances. When the server dies that leads JetStream's group, nobody can write
	// until it has another leader: for 4.3 to 6.4 s, measured, and 9 s at most. With 7 s and a
	// renewal each 3 s, the other nodes stopped theirs in every second such crash.
	GiveUpAfter = 11 * time.Second
	// LeaseTime is how long others see no renewal before they judge a node dead. It is
	// longer than GiveUpAfter by what the node has to stop in.
	LeaseTime = 14 * time.Second
	// Turn is how long each candidate has before the next one takes an instance.
	Turn = 2 * time.Second
	// requestTimeout bounds one request to the store, renewTimeout a renewal, which is sent
	// again: what was sent while there was no leader is never answered.
	requestTimeout = 3 * time.Second
	renewTimeout   = 1500 * time.Millisecond
	// lookEvery is how often instances without an owner are looked for; changes in the
	// store have that done at once.
	lookEvery = time.Second
	// sweepEvery is how often owners of what nobody wants any more are looked for.
	sweepEvery = time.Minute
	// claims bounds how many instances a node claims at the same time.
	claims = 32
)

// Why an instance has to stop: the cause of the context that Options.Run was given.
var (
	// ErrReleased: this node hands it over, and still owns it: its state can be saved.
	ErrReleased = errors.New("owners: the instance is handed over")
	// ErrLost: this node does not own it any more, or cannot know: saving fails.
	ErrLost = errors.New("owners: the instance has another owner")
)

// Options of a node. Node and Run are needed.
type Options struct {
	// Node is the name of this node. Two must not have the same.
	Node string
	// Address is where other nodes reach this one; it is told to them by Owner.
	Address string
	// Run runs an instance that this node has become the owner of, on a goroutine,
	// until ctx ends, and returns when the instance has stopped. ctx ends with
	// ErrReleased or ErrLost. It is not called again for an instance before it has returned.
	Run func(ctx context.Context, id string, o *Ownership)
	// Log gets what happens to the lease, one line each. May be nil.
	Log func(line string, err error)
}

// Owner is the node that owns an instance.
type Owner struct {
	Node    string
	Address string
	// Self reports that it is this node.
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

// Start begins to hold a lease. It returns at once: the lease is there when the
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

// Forget ends the competing for an instance that must not run anywhere, stops it if
// it runs here, and removes its owner from the store.
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

// Owner returns who owns an instance; ok is false if nobody alive does, as far as this
// node knows.
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

// Drain hands all instances over to other nodes, and takes no more. The lease stays
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

// release stops an instance that runs here, and makes it nobody's or removes its key.
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

// ignore returns nil for the errors of a key that somebody else has changed.
func ignore(err error) error {
	if errors.Is(err, ErrKeyRevision) || errors.Is(err, ErrKeyNotFound) {
		return nil
	}
	return err
}

// Close stops the instances that run here with ErrLost, gives the lease back if
// the store can be reached before ctx ends, and waits for all that was begun.
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

// kick has look look.
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
