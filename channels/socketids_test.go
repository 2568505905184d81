package channels

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestSocketIDs compares the registry with a plain list, over many random steps.
func TestSocketIDs(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var ids socketIDs
	var all []*Socket
	check := func(id string) {
		t.Helper()
		want := make(map[*Socket]bool)
		for _, i := range all {
			if i.ID() == id {
				want[i] = true
			}
		}
		var prev *Socket
		for i := ids.first[id]; i != nil; prev, i = i, i.identity.next {
			if !want[i] || i.identity.prev != prev {
				t.Fatalf("%q: a socket that is not there, or out of its place", id)
			}
			delete(want, i)
		}
		if len(want) > 0 {
			t.Fatalf("%q: %d sockets are missing", id, len(want))
		}
	}
	for range 20_000 {
		if len(all) == 0 || random.IntN(5) < 3 && len(all) < 200 {
			i := &Socket{identity: &identity{id: fmt.Sprint(random.IntN(40))}}
			ids.add(i)
			all = append(all, i)
			check(i.ID())
			continue
		}
		n := random.IntN(len(all))
		i := all[n]
		all[n] = all[len(all)-1]
		all = all[:len(all)-1]
		ids.remove(i)
		check(i.ID())
	}
}

// TestSocketIDsGiveMemoryBack: a peak of ids is forgotten.
func TestSocketIDsGiveMemoryBack(t *testing.T) {
	var ids socketIDs
	var all []*Socket
	for n := range 10_000 {
		i := &Socket{identity: &identity{id: fmt.Sprint(n)}}
		ids.add(i)
		all = append(all, i)
	}
	for _, i := range all {
		ids.remove(i)
	}
	if len(ids.first) != 0 || ids.peak >= remakeAbove {
		t.Errorf("%d ids, room for %d", len(ids.first), ids.peak)
	}
}
