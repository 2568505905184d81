package owners_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"iter"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/instances/internal/linktest"
	"github.com/mycelium-rt/mycelium/instances/internal/owners"
)

var seeds = flag.Int("seeds", 15, "how many random `runs` TestTakeovers makes")

// store is the store as a node reaches it over a link, adapted to package owners.
type store struct {
	*linktest.Link
	refuse *atomic.Int32 // how many of the next requests with a fence it refuses, as JetStream does while it has another in progress
}

func (s store) Get(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	e, err := s.Link.Get(ctx, key)
	return e.Value, e.Revision, translate(err)
}

func (s store) Put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	now, err := s.Link.Put(ctx, key, value, revision)
	return now, translate(err)
}

func (s store) PutIf(ctx context.Context, key string, value []byte, other string, revision uint64) (uint64, error) {
	if s.refuse.Add(-1) >= 0 {
		return 0, owners.ErrKeyRevision
	}
	now, err := s.Link.PutIf(ctx, key, value, other, revision)
	return now, translate(err)
}

func (s store) Delete(ctx context.Context, key string, revision uint64) error {
	return translate(s.Link.Delete(ctx, key, revision))
}

func (s store) DeleteIf(ctx context.Context, key, other string, revision uint64) error {
	return translate(s.Link.DeleteIf(ctx, key, other, revision))
}

func (s store) Watch(ctx context.Context, prefix string) iter.Seq2[owners.Change, error] {
	return func(yield func(owners.Change, error) bool) {
		for c, err := range s.Link.Watch(ctx, prefix) {
			if !yield(owners.Change{Key: c.Entry.Key, Value: c.Entry.Value, Revision: c.Entry.Revision, Deleted: c.Deleted, Current: c.Current}, err) {
				return
			}
		}
	}
}

// translate translates an error of the store into that of package owners.
func translate(err error) error {
	switch err {
	case instances.ErrKeyNotFound:
		return owners.ErrKeyNotFound
	case instances.ErrKeyRevision:
		return owners.ErrKeyRevision
	}
	return err
}

// world is a few nodes that compete for instances. Each instance counts, and saves its count.
type world struct {
	t       *testing.T
	store   *instances.Memory
	nodes   map[string]*node // without those that are cut off
	links   []store
	started []*node

	mu        sync.Mutex
	running   map[string]string // by instance: the node
	acked     map[string]int    // by instance: the last number that was saved
	takeovers int
}

type node struct {
	*owners.Owners
	link store
}

func (w *world) start(name string, ids []string) {
	l := store{linktest.New(w.store), new(atomic.Int32)}
	n := &node{link: l}
	w.links = append(w.links, l)
	n.Owners = owners.Start(l, owners.Options{Node: name, Address: name + ".example", Run: func(ctx context.Context, id string, o *owners.Ownership) { w.run(ctx, name, l, id, o) }})
	w.nodes[name] = n
	w.started = append(w.started, n)
	for _, id := range ids {
		n.Want(id)
	}
}

// run is an instance on a node.
func (w *world) run(ctx context.Context, name string, l store, id string, o *owners.Ownership) {
	w.mu.Lock()
	if other := w.running[id]; other != "" {
		w.t.Errorf("%s runs on %s and on %s", id, other, name)
	}
	w.running[id] = name
	w.takeovers++
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.running, id)
	}()
	count, ok := w.load(ctx, l, id)
	for ok && ctx.Err() == nil {
		w.save(ctx, id, o, &count)
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	if context.Cause(ctx) == owners.ErrReleased && ok { // it still owns it, so its last state counts
		w.save(context.Background(), id, o, &count)
	}
}

func (w *world) load(ctx context.Context, l store, id string) (count int, ok bool) {
	for ctx.Err() == nil {
		value, _, err := l.Get(ctx, "state."+id)
		if err == nil {
			count, err = strconv.Atoi(string(value))
		}
		if err == nil || errors.Is(err, owners.ErrKeyNotFound) {
			w.mu.Lock()
			defer w.mu.Unlock()
			if count < w.acked[id] {
				w.t.Errorf("%s goes on at %d, but %d was acknowledged", id, count, w.acked[id])
			}
			return count, true
		}
	}
	return 0, false
}

// save saves the next number. It must follow the stored one: otherwise two owners' saves count.
func (w *world) save(ctx context.Context, id string, o *owners.Ownership, count *int) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err := o.Save(ctx, "state."+id, []byte(strconv.Itoa(*count+1)))
	switch {
	case err == nil:
		*count++
		w.mu.Lock()
		if *count <= w.acked[id] {
			w.t.Errorf("%s: %d is saved, but %d was acknowledged before", id, *count, w.acked[id])
		}
		w.acked[id] = *count
		w.mu.Unlock()
	case !errors.Is(err, owners.ErrLost):
		*count++ // it may have been stored
	}
}

// settled reports whether every instance runs on one node, which all nodes know.
func (w *world) settled(ids []string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		on := w.running[id]
		if on == "" {
			return id + " runs nowhere"
		}
		for name, n := range w.nodes {
			o, ok := n.Owner(id)
			if want := (owners.Owner{on, on + ".example", name == on}); !ok || o != want {
				return fmt.Sprintf("%s runs on %s, and %s knows %+v %v", id, on, name, o, ok)
			}
		}
	}
	return ""
}

// runs returns how many instances run on a node.
func (w *world) runs(name string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, on := range w.running {
		if on == name {
			n++
		}
	}
	return n
}

func (w *world) await(what string, within time.Duration, ids []string) {
	w.t.Helper()
	why := ""
	for deadline := time.Now().Add(within); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if why = w.settled(ids); why == "" {
			return
		}
	}
	w.t.Fatalf("%s: not settled after %s: %s", what, within, why)
}

func (w *world) close() {
	for _, l := range w.links {
		l.SetCut(false)
	}
	for _, n := range w.started {
		if err := n.Close(context.Background()); err != nil {
			w.t.Error(err)
		}
	}
	for _, l := range w.links {
		l.WaitLate()
	}
}

func newWorld(t *testing.T) *world {
	return &world{t: t, store: new(instances.Memory), nodes: map[string]*node{}, running: map[string]string{}, acked: map[string]int{}}
}

func idsOf(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprint("game-", i))
	}
	return ids
}

// TestSpread: instances are spread over the nodes. Those of a node that dies or is cut off go to
// the others in time; those of a node that drains go at once, with their last state.
func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ids := newWorld(t), idsOf(60)
		defer w.close()
		for _, name := range []string{"a", "b", "c"} {
			w.start(name, nil)
		}
		time.Sleep(time.Second) // they know each other
		for _, n := range w.nodes {
			for _, id := range ids {
				n.Want(id)
			}
		}
		w.await("at the start", 5*time.Second, ids)
		share := map[string]int{}
		for _, on := range w.running {
			share[on]++
		}
		for name := range w.nodes {
			if share[name] < 8 {
				t.Errorf("%v: %s has few of %d", share, name, len(ids))
			}
		}
		cut := w.nodes["a"]
		cut.link.SetCut(true)
		delete(w.nodes, "a")
		begun := time.Now()
		for w.runs("a") > 0 {
			time.Sleep(50 * time.Millisecond)
		}
		t.Logf("the instances of a node that is cut off stop after %s", time.Since(begun))
		// A renewal that was in some buffer for up to 20 s gives it another lease.
		w.await("after a node is cut off", 16*time.Second+20*time.Second+owners.LeaseTime, ids)
		t.Logf("after a cut: %s", time.Since(begun))
		cut.link.SetCut(false)
		w.nodes["a"] = cut
		w.await("after it is back", 5*time.Second, ids)
		begun = time.Now()
		if err := w.nodes["b"].Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.await("after a drain", 3*time.Second, ids)
		t.Logf("after a drain: %s", time.Since(begun))
		if n := w.runs("b"); n > 0 {
			t.Errorf("%d instances run on the node that drains", n)
		}
	})
}

// TestForget: a deleted instance runs nowhere, and its key is gone.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ids := newWorld(t), idsOf(3)
		defer w.close()
		w.start("a", ids)
		w.start("b", ids)
		w.await("at the start", 15*time.Second, ids)
		for _, n := range w.nodes {
			if err := n.Forget(t.Context(), ids[0]); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if on := w.running[ids[0]]; on != "" {
			t.Errorf("it runs on %s", on)
		}
		if _, err := w.store.Get(t.Context(), "owner."+ids[0]); !errors.Is(err, instances.ErrKeyNotFound) {
			t.Errorf("its owner is still in the store: %v", err)
		}
		w.await("the others", time.Second, ids[1:])
	})
}

// TestRefused: an owner whose request the store refuses for another reason than a new owner
// keeps its instance, and saves again.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ids := newWorld(t), idsOf(1)
		defer w.close()
		w.start("a", ids)
		w.await("at the start", 15*time.Second, ids)
		w.mu.Lock()
		before := w.acked[ids[0]]
		w.mu.Unlock()
		w.nodes["a"].link.refuse.Store(5)
		time.Sleep(time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		if left := w.nodes["a"].link.refuse.Load(); left >= 0 || w.takeovers != 1 || w.running[ids[0]] != "a" || w.acked[ids[0]] < before+100 {
			t.Errorf("%d left to refuse, %d owners, it runs on %q and has saved %d after %d", left, w.takeovers, w.running[ids[0]], w.acked[ids[0]], before)
		}
	})
}

// TestNoStore: while no node reaches the store nothing runs; instances start again when it is back.
func TestNoStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ids := newWorld(t), idsOf(10)
		defer w.close()
		for _, name := range []string{"a", "b"} {
			w.start(name, ids)
		}
		w.await("at the start", 15*time.Second, ids)
		for _, n := range w.nodes {
			n.link.SetCut(true)
		}
		time.Sleep(owners.GiveUpAfter + 2*time.Second)
		w.mu.Lock()
		if len(w.running) > 0 {
			t.Errorf("%d instances run without a store", len(w.running))
		}
		w.mu.Unlock()
		time.Sleep(time.Minute)
		for _, n := range w.nodes {
			n.link.SetCut(false)
		}
		w.await("when the store is back", 20*time.Second, ids)
	})
}

// TestTakeovers cuts nodes off and brings them back, starts, drains and ends them at
// random. Two owners' saves never both count, and no acknowledged state is lost.
func TestTakeovers(t *testing.T) {
	takeovers := 0
	for i := range *seeds {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			w, ids := newWorld(t), idsOf(5)
			defer w.close()
			names := []string{"a", "b", "c", "d"}
			for _, name := range names[:2+r.IntN(3)] {
				w.start(name, ids)
			}
			for range 15 {
				time.Sleep(time.Duration(r.IntN(12_000)) * time.Millisecond)
				name := names[r.IntN(len(names))]
				n := w.nodes[name]
				switch {
				case n == nil:
					w.start(name, ids)
				case r.IntN(4) == 0:
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(r.IntN(5_000))*time.Millisecond)
					if r.IntN(2) == 0 {
						n.Drain(ctx)
					}
					n.Close(ctx)
					cancel()
					delete(w.nodes, name)
				default:
					n.link.SetCut(!n.link.IsCut())
				}
			}
			for _, n := range w.nodes {
				n.link.SetCut(false)
			}
			if len(w.nodes) == 0 {
				w.start("a", ids)
			}
			// A renewal that was in some buffer for up to 20 s gives a node that has ended another lease.
			w.await(fmt.Sprint("seed ", i), 20*time.Second+owners.LeaseTime+time.Duration(len(names))*owners.Turn+5*time.Second, ids)
			takeovers += w.takeovers
		})
	}
	t.Logf("%d seeds, %d times an instance got an owner", *seeds, takeovers)
}
