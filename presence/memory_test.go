package presence

import (
	"fmt"
	"runtime"
	"testing"
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
	if raceEnabled {
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
