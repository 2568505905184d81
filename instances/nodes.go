package instances

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/instances/internal/owners"
)

const (
	// requestTimeout bounds one request to the store that the nodes share.
	requestTimeout = 5 * time.Second
	// openWait is how long Open waits for that store: a node that cannot reach a
	// majority still serves its clients.
	openWait = 5 * time.Second
	// watchPause is the pause after a watch that has failed.
	watchPause = time.Second
	// pollEvery is how often a waiting call looks at the state that it waits for.
	pollEvery = 5 * time.Millisecond
)

// nodes makes a manager one of several nodes that share a store: it learns of the
// instances of all nodes, and runs those that this node owns.
//
// Everything it knows comes from the records in the store, which every node watches.
// The news of one id is applied in order, by a goroutine that lives as long as there
// is any. Package owners decides who runs an instance that has a single owner.
type nodes struct {
	// Static after construction.
	manager *Manager
	store   SharedStore
	owners  *owners.Owners
	current chan struct{}  // closed when all records have been learned once
	work    sync.WaitGroup // goroutines of members that this node owns

	mu       sync.Mutex
	queue    map[string]news                 // by id: what is still to be applied; guarded by mu
	applying map[string]bool                 // ids that a goroutine applies news of; guarded by mu
	statuses map[string]status               // by id: what the owner last reported; guarded by mu
	idle     map[string]map[string]time.Time // by id and node: since when this node knows that it is idle there; guarded by mu
}

// news is what is still to be applied to an instance.
type news struct {
	record  *Change // of its key in the store; nil: nothing has changed there
	missing bool    // the key was not among all keys that a watch yielded: look for it
	forget  bool    // it is a new instance with the same id: give up the previous one first
}

// join makes the manager one of the nodes that share store.
func (m *Manager) join(store SharedStore) {
	n := &nodes{
		manager: m, store: guardedShared{guardedStore{store}, store}, current: make(chan struct{}),
		queue: make(map[string]news), applying: make(map[string]bool), statuses: make(map[string]status), idle: make(map[string]map[string]time.Time),
	}
	m.nodes, m.store = n, n.store
	n.owners = owners.Start(ownerStore{n.store}, owners.Options{
		Node: m.options.Node, Address: m.options.Address, Run: n.own,
		Log: func(line string, err error) { m.log.Warn("instances of the cluster: " + line).Err(err).Write() },
	})
}

// open begins to learn of the instances of all nodes, and waits until those that
// run on every node have started or failed here.
func (n *nodes) open(ctx context.Context) error {
	m := n.manager
	m.work.Go(func() { n.watch(statusPrefix, n.learnStatus, nil) })
	m.work.Go(func() { n.watch(specPrefix, n.learnRecord, n.learnedAll) })
	select {
	case <-n.current:
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(openWait):
		m.log.Warn("the instances of the cluster are not known yet: its store cannot be reached").Write()
		return nil
	}
	for n.busy() || m.anyStarting() {
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// anyStarting reports whether the first start of an instance on this node has
// neither succeeded nor failed yet.
func (m *Manager) anyStarting() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, one := range m.members {
		if one.starting() {
			return true
		}
	}
	return false
}

func (n *nodes) busy() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.applying) > 0
}

// watch passes each change of the keys with a prefix to learn. Whenever it has seen
// all of these keys, it passes their names to learned, if that is not nil.
func (n *nodes) watch(prefix string, learn func(Change), learned func(keys map[string]bool)) {
	ctx := n.manager.ctx
	for ctx.Err() == nil {
		keys := make(map[string]bool)
		for c, err := range n.store.Watch(ctx, prefix) {
			if err != nil {
				n.manager.log.Warn("the store of the cluster cannot be watched").Err(err).Write()
				break
			}
			switch {
			case !c.Current:
				keys[c.Entry.Key] = true
				learn(c)
			case learned != nil:
				learned(keys)
			}
		}
		select {
		case <-time.After(watchPause):
		case <-ctx.Done():
		}
	}
}

func (n *nodes) learnRecord(c Change) {
	n.enqueue(strings.TrimPrefix(c.Entry.Key, specPrefix), news{record: &c})
}

// learnedAll looks for the records of known instances that are not among all
// keys: they may have been deleted while nothing was watched.
func (n *nodes) learnedAll(keys map[string]bool) {
	m := n.manager
	var missing []string
	m.mu.RLock()
	for id, one := range m.members {
		if !one.declared && !keys[specPrefix+id] {
			missing = append(missing, id)
		}
	}
	m.mu.RUnlock()
	for _, id := range missing {
		n.enqueue(id, news{missing: true})
	}
	select {
	case <-n.current:
	default:
		close(n.current)
	}
}

// enqueue has news of an instance applied, merged with earlier news that is still
// waiting.
func (n *nodes) enqueue(id string, what news) {
	n.mu.Lock()
	if before, ok := n.queue[id]; ok {
		if what.record == nil {
			what.record = before.record
		}
		what.missing = what.missing || before.missing
		what.forget = what.forget || before.forget
	}
	n.queue[id] = what
	begin := !n.applying[id]
	n.applying[id] = true
	n.mu.Unlock()
	if begin {
		n.manager.background(func(context.Context) { n.applyAll(id) })
	}
}

// applyAll applies the news of an instance until there is none.
func (n *nodes) applyAll(id string) {
	for {
		n.mu.Lock()
		what, ok := n.queue[id]
		delete(n.queue, id)
		if !ok {
			delete(n.applying, id)
		}
		n.mu.Unlock()
		if !ok {
			return
		}
		n.apply(id, what)
	}
}

// drain hands the instances of this node over to others and takes no more.
func (n *nodes) drain(ctx context.Context) {
	if err := n.owners.Drain(ctx); err != nil {
		n.manager.log.Warn("not all instances were handed over to other nodes").Err(err).Write()
	}
}

// close gives up what this node still owns, and its lease.
func (n *nodes) close(ctx context.Context) {
	if err := n.owners.Close(ctx); err != nil {
		n.manager.log.Warn("the lease of this node was not given back: the others wait until it has expired").Err(err).Write()
	}
	n.work.Wait()
}

// allIdle reports whether every live node reported at least settle ago that an
// instance is idle there.
func (n *nodes) allIdle(id string, now time.Time, settle time.Duration) bool {
	alive := n.owners.Nodes()
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(alive) > 0 && !slices.ContainsFunc(alive, func(node string) bool {
		since, ok := n.idle[id][node]
		return !ok || now.Sub(since) < settle
	})
}
