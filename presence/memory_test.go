package presence

import (
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"github.com/mycelium-rt/mycelium/internal/race"
)

// maxPresenceBytes is what one presence may cost in live heap, in bytes: of a channel of its own under a key of its own, with a
// meta of 26 bytes beside the phx_ref; key and channel not. It was 337 when this was set.
const maxPresenceBytes = 390

// heap is the live heap in bytes.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one found in pools
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestPresenceMemory(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector's allocations are larger: make test-budgets runs it without")
	}
	const size = 100_000
	tr := newTracker(t, &sink{}, Options{})
	members, keys := make([]member, size), make([]string, size)
	for i := range members {
		members[i].topic, keys[i] = "room:lobby", fmt.Sprint("user:", i)
	}
	before := heap()
	for i := range members {
		track(t, tr, &members[i], keys[i], benchMeta)
	}
	each := (heap() - before) / size
	tp := tr.stripe("room:lobby").topics["room:lobby"]
	tp.encoded()
	state := (heap()-before)/size - each
	t.Logf("%d bytes a presence, and %d of its encoded state", each, state)
	if each > maxPresenceBytes {
		t.Errorf("%d bytes a presence, want at most %d", each, maxPresenceBytes)
	}
	runtime.KeepAlive(members)
	runtime.KeepAlive(keys)
}

// maxReplicaBytes is what a presence of another node may cost in live heap, in bytes, key and all.
const maxReplicaBytes = 450

func TestReplicaMemory(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector's allocations are larger: make test-budgets runs it without")
	}
	const size = 100_000
	tr := newTracker(t, &sink{}, Options{})
	tr.pace.first = 1 << 30
	replica := tr.NewReplica()
	replica.Up()
	before := heap()
	for i := range size {
		replica.Join("room:lobby", fmt.Sprint("user:", i), fmt.Sprintf(`{"phx_ref":"%016d","online_at":1700000000}`, i))
	}
	each := (heap() - before) / size
	tr.stripe("room:lobby").topics["room:lobby"].encoded()
	state := (heap()-before)/size - each
	replica.Down()
	hidden := (heap() - before) / size
	replica.Up()
	again := (heap() - before) / size
	t.Logf("%d bytes a presence and %d of its encoded state; %d while its node is down, %d when it is back", each, state, hidden, again)
	for _, bytes := range []int64{each + state, hidden, again} {
		if bytes > maxReplicaBytes {
			t.Errorf("%d bytes a presence, want at most %d", bytes, maxReplicaBytes)
		}
	}
	runtime.KeepAlive(replica)
}

// maxIdleTracker is what a tracker that tracks nothing may cost in bytes: a server may have thousands.
const maxIdleTracker = 1200

func TestIdleTrackerMemory(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector's allocations are larger: make test-budgets runs it without")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // its locks go with the cores
	const size = 1000
	trackers := make([]*Tracker, size)
	before := heap()
	for i := range trackers {
		trackers[i] = New(&sink{}, Options{})
	}
	each := (heap() - before) / size
	t.Logf("%d bytes a tracker", each)
	if each > maxIdleTracker {
		t.Errorf("%d bytes a tracker, want at most %d", each, maxIdleTracker)
	}
	for _, tr := range trackers {
		tr.Close()
	}
}

// TestStripeSize: neighbours have no cache line in common.
func TestStripeSize(t *testing.T) {
	if size := unsafe.Sizeof(stripe{}); unsafe.Sizeof(uintptr(0)) == 8 && size != 64 {
		t.Errorf("a stripe has %d bytes, want a cache line", size)
	}
}

func TestStripes(t *testing.T) {
	for cores, want := range map[int]int{1: 4, 2: 8, 3: 16, 4: 16, 15: 64, 16: 64, 200: 64} {
		if got := stripesFor(cores); got != want {
			t.Errorf("%d stripes for %d cores, want %d", got, cores, want)
		}
	}
}
