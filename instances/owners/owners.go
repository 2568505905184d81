package owners

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/instances"
)

const (
	// RenewEvery is how often a node renews its lease.
	RenewEvery = 3 * time.Second
	// GiveUpAfter is how long after the start of its last renewal a node stops
	// its instances.
	GiveUpAfter = 7 * time.Second
	// LeaseTime is how long others see no renewal before they judge a node dead. It is
	// longer than GiveUpAfter by what the node has to stop in.
	LeaseTime = 10 * time.Second
	// Turn is how long each candidate has before the next one takes an instance.
	Turn = 2 * time.Second
	// requestTimeout bounds one request to the store.
	requestTimeout = 3 * time.Second
	// lookEvery is how often instances without an owner are looked for; changes in the
	// store have that done at once.
	lookEvery = time.Second
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
	store   instances.SharedStore
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
	wanted   map[string]*instance
	draining bool
}

// instance is one that this node competes for.
type instance struct {
	id      string
	waiting time.Time // since when nobody owns it; zero: somebody does
	busy    bool      // a claim or a release is under way
	run     *run      // nil: it does not run here
}

// run is the time during which this node owns an instance.
type run struct {
	*Ownership
	cancel  context.CancelCauseFunc
	done    chan struct{}
	claimed uint64 // the revision at which this node became the owner
}

// Start begins to hold a lease. It returns at once: the lease is there when the
// store can be reached.
func Start(store instances.SharedStore, o Options) *Owners {
	w := &Owners{
		store: store, options: o, wake: make(chan struct{}, 1), slots: make(chan struct{}, claims), renewal: make(chan struct{}, 1),
		wanted: make(map[string]*instance),
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
	if w.wanted[id] == nil {
		w.wanted[id] = &instance{id: id}
		w.kick()
	}
}

// Forget ends the competing for an instance that has been deleted, stops it if it
// runs here, and removes its owner from the store.
func (w *Owners) Forget(ctx context.Context, id string) error {
	w.mu.Lock()
	in := w.wanted[id]
	delete(w.wanted, id)
	w.mu.Unlock()
	if in == nil {
		return nil
	}
	return w.release(ctx, in, true)
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

// Drain hands all instances over to other nodes, one after the other, and takes no more.
// The lease stays until Close.
func (w *Owners) Drain(ctx context.Context) error {
	w.mu.Lock()
	w.draining = true
	var all []*instance
	for _, in := range w.wanted {
		all = append(all, in)
	}
	w.mu.Unlock()
	if err := w.renew(ctx); err != nil { // tell the others, so that none waits for this node's turn
		return err
	}
	for _, in := range all {
		if err := w.release(ctx, in, false); err != nil {
			return err
		}
	}
	return nil
}

// release stops an instance that runs here, and makes it nobody's or removes its key.
func (w *Owners) release(ctx context.Context, in *instance, remove bool) error {
	w.setBusy(in, true)
	defer w.setBusy(in, false)
	w.mu.Lock()
	r := in.run
	w.mu.Unlock()
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

func (w *Owners) setBusy(in *instance, busy bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	in.busy = busy
}

// ignore returns nil for the errors of a key that somebody else has changed.
func ignore(err error) error {
	if errors.Is(err, instances.ErrKeyRevision) || errors.Is(err, instances.ErrKeyNotFound) {
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
	for _, in := range w.wanted {
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
