package presence

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestReplicaFalls: what a large node has leaves in messages of a bounded size, as fast as clients can take it, and joins
// in the same way when it is back.
func TestReplicaFalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 20_000
		n := newNode()
		tr := newTracker(t, n, Options{})
		replica := tr.NewReplica()
		total := 0
		for i := range size {
			key, meta := fmt.Sprint("user:", i), fmt.Sprintf(`{"phx_ref":"%016d","about":%q}`, i, strings.Repeat("x", i%500))
			replica.Join("room:1", key, meta)
			total += len(key) + len(meta)
		}
		for _, turn := range []func(){replica.Up, replica.Down, replica.Up, replica.Gone} {
			began := time.Now()
			turn()
			metas, bytes := 0, 0
			for metas < size {
				diffs := n.takeDiffs()
				most := defaultPace.first + portionBytes + int(time.Since(began)/defaultPace.every)*(defaultPace.next+portionBytes)
				for _, d := range diffs {
					metas += strings.Count(d, `"phx_ref":`)
					if bytes += len(d); len(d) > maxPayload {
						t.Errorf("a diff of %d bytes", len(d))
					}
				}
				if bytes > most+total/4 { // what is around a meta
					t.Errorf("%d bytes after %v", bytes, time.Since(began))
				}
				if time.Since(began) > 2*time.Second {
					t.Fatalf("%d metas after %v", metas, time.Since(began))
				}
				pass(defaultPace.every)
			}
			if took := time.Since(began); took < 500*time.Millisecond || metas != size {
				t.Errorf("%d metas after %v", metas, took)
			}
		}
		checkEmpty(t, tr)
	})
}

// TestReplicaTurnsBack: a node that is back before all that it had has left.
func TestReplicaTurnsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 5000
		n := newNode()
		tr := newTracker(t, n, Options{})
		tr.pace = pace{first: 1000, next: 30_000, every: time.Second}
		c := n.join("room:1")
		one := newClient()
		one.rejoin()
		if err := tr.PushState(c); err != nil {
			t.Fatal(err)
		}
		replica := tr.NewReplica()
		meta := func(i int) string { return fmt.Sprintf(`{"phx_ref":"%016d"}`, i) }
		for i := range size {
			replica.Join("room:1", fmt.Sprint("user:", i), meta(i))
		}
		for i, turn := range []func(){replica.Up, replica.Down, replica.Up, replica.Down, replica.Up} {
			turn()
			pass(1500 * time.Millisecond)
			replica.Leave("room:1", "", refOf(meta(i)))        // shown, perhaps
			replica.Leave("room:1", "", refOf(meta(size-1-i))) // waits, perhaps
			replica.Join("room:1", "new", meta(size+i))        // at once, if it is up
			replica.Join("room:1", fmt.Sprint("user:", size/2+i), withPrev(meta(2*size+i), refOf(meta(size/2+i))))
		}
		pass(time.Minute)
		for _, e := range c.take() {
			if err := one.handle(e); err != nil {
				t.Fatal(err)
			}
		}
		if list := tr.List("room:1"); !sameShape(one.shape(), shape(list)) || len(list) != size-10+1 {
			t.Errorf("the client has %d keys, the list %d, want %d", len(one.shape()), len(list), size-10+1)
		}
		replica.Down()
		tr.Close() // does not wait for the rest
	})
}
