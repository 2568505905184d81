package dispatch

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/heaptest"
)

// A map that was emptied is as small as a new one, and holds what is in it on the way.
func TestTopicMapGivesMemoryBack(t *testing.T) {
	const topics = 100_000
	names := make([]string, topics)
	for i := range names {
		names[i] = fmt.Sprint("room:", i)
	}
	var m topicMap[int]
	empty := heaptest.Live()
	for i, name := range names {
		m.set(name, i)
	}
	full := heaptest.Live()
	for i, name := range names[:topics-10] {
		m.delete(name)
		if i%9_999 == 0 {
			for j := i + 1; j < topics; j += 7 {
				if v, ok := m.m[names[j]]; !ok || v != j {
					t.Fatalf("after %d deletions %s is %d, %v", i+1, names[j], v, ok)
				}
			}
		}
	}
	left := int64(heaptest.Live()) - int64(empty)
	if len(m.m) != 10 || full-empty < topics || left > int64(full-empty)/50 {
		t.Errorf("%d topics; %d bytes for all, %d left", len(m.m), full-empty, left)
	}
	runtime.KeepAlive(names)
}
