package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/instances"
)

// patience is how long a watcher waits for a change on a loaded machine.
const patience = 2 * time.Minute

// RunShared tests what nodes have in common: open returns two views of a new store, as
// two nodes have them. It is for stores that pass Run.
func RunShared(t *testing.T, open func(t *testing.T) (a, b instances.SharedStore)) {
	for name, test := range map[string]func(*testing.T, instances.SharedStore, instances.SharedStore){
		"both see the same": testBoth, "fence": testFence, "watch": testWatch, "watch under load": testWatchLoad,
	} {
		t.Run(name, func(t *testing.T) {
			a, b := open(t)
			test(t, a, b)
		})
	}
}

// testBoth: what one node has written the other reads at once.
func testBoth(t *testing.T, a, b instances.SharedStore) {
	last := map[string]uint64{}
	for i := range 50 {
		key := fmt.Sprint("spec.", i%10)
		last[key] = put(t, a, key, fmt.Sprint(i), last[key])
		assertGet(t, b, key, fmt.Sprint(i), last[key])
		a, b = b, a
	}
}

// testFence: once another node has become the owner, nothing that the old one sends is
// stored, also if both write at the same time.
func testFence(t *testing.T, old, young instances.SharedStore) {
	ctx := t.Context()
	for round := range 100 {
		owner, state := fmt.Sprint("owner.", round), fmt.Sprint("state.", round)
		lease := put(t, old, owner, "old", 0)
		var all sync.WaitGroup
		all.Go(func() {
			for i := range 10 {
				if _, err := old.PutIf(ctx, state, fmt.Append(nil, "old ", i), owner, lease); err != nil && !errors.Is(err, instances.ErrKeyRevision) {
					t.Error(err)
				}
			}
		})
		next := put(t, young, owner, "young", lease)
		revision, err := young.PutIf(ctx, state, []byte("young"), owner, next)
		must(t, err)
		all.Wait()
		assertGet(t, old, state, "young", revision)
		if _, err := old.PutIf(ctx, state, []byte("late"), owner, lease); !errors.Is(err, instances.ErrKeyRevision) {
			t.Fatalf("a late save: %v", err)
		}
		if err := old.DeleteIf(ctx, state, owner, lease); !errors.Is(err, instances.ErrKeyRevision) {
			t.Fatalf("a late removal: %v", err)
		}
		assertGet(t, old, state, "young", revision)
		must(t, young.DeleteIf(ctx, state, owner, next))
		assertMissing(t, old, state)
		must(t, young.DeleteIf(ctx, state, owner, next))
		must(t, young.Delete(ctx, owner, next))
		if _, err := young.PutIf(ctx, state, []byte("late"), owner, next); !errors.Is(err, instances.ErrKeyRevision) {
			t.Fatalf("a save by the owner of nothing: %v", err)
		}
	}
}

// testWatch: a watcher gets what is there, is told when that is all, and then gets
// each change.
func testWatch(t *testing.T, a, b instances.SharedStore) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	first := put(t, a, "spec.a", "1", 0)
	put(t, a, "spec.gone", "1", 0)
	must(t, a.Delete(ctx, "spec.gone", instances.AnyRevision))
	put(t, a, "other.a", "1", 0)
	seen, current, last := map[string]string{}, false, uint64(0)
	for c, err := range b.Watch(ctx, "spec.") {
		must(t, err)
		if !c.Current && c.Entry.Revision <= last {
			t.Errorf("revision %d after %d", c.Entry.Revision, last)
		}
		last = max(last, c.Entry.Revision)
		switch {
		case c.Current:
			if current = true; len(seen) != 1 || seen["spec.a"] != "1" {
				t.Errorf("at first: %v", seen)
			}
			second := put(t, a, "spec.b", "2", 0)
			put(t, a, "other.b", "2", 0)
			must(t, a.Delete(ctx, "spec.a", first))
			put(t, a, "spec.b", "3", second)
		case c.Deleted:
			delete(seen, c.Entry.Key)
		default:
			seen[c.Entry.Key] = string(c.Entry.Value)
		}
		if current && len(seen) == 1 && seen["spec.b"] == "3" {
			return
		}
	}
	t.Fatalf("the watch ended with %v", seen)
}

// testWatchLoad: however quickly keys change, a watcher ends with what is there.
func testWatchLoad(t *testing.T, a, b instances.SharedStore) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const keys, rounds = 20, 25
	want := map[string]string{}
	var all sync.WaitGroup
	defer all.Wait()
	for i := range keys {
		key := fmt.Sprintf("state.%d.x", i)
		if i%4 > 0 {
			want[key] = fmt.Sprint(rounds - 1)
		}
		all.Go(func() {
			for round := range rounds {
				if _, err := a.Put(ctx, key, fmt.Append(nil, round), instances.AnyRevision); err != nil {
					t.Error(err)
				}
			}
			if i%4 == 0 {
				if err := a.Delete(ctx, key, instances.AnyRevision); err != nil {
					t.Error(err)
				}
			}
		})
	}
	seen := map[string]string{}
	for c, err := range b.Watch(ctx, "state.") {
		must(t, err)
		if c.Deleted {
			delete(seen, c.Entry.Key)
		} else if !c.Current {
			seen[c.Entry.Key] = string(c.Entry.Value)
		}
		if maps.Equal(seen, want) {
			return
		}
	}
	t.Fatalf("the watch ended with %v", seen)
}
