package cluster

import (
	"testing"

	"pgregory.net/rapid"
)

// TestWindow compares a window with a map.
func TestWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := window{limit: 50}
		model := map[uint64]int{}
		sizes := func() (all, highest int) {
			for n, size := range model {
				all, highest = all+size, max(highest, int(n))
			}
			return all, highest
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			n := uint64(rapid.IntRange(1, 30).Draw(t, "n"))
			if rapid.Bool().Draw(t, "take") {
				if e := w.takeEntry(n); len(e) != model[n] {
					t.Fatalf("take %d: %d bytes, want %d", n, len(e), model[n])
				}
				delete(model, n)
				continue
			}
			size := rapid.IntRange(1, 20).Draw(t, "size")
			w.put(n, make(entry, size))
			if _, ok := model[n]; !ok {
				all, highest := sizes()
				for all+size > w.limit && int(n) < highest { // the highest gives way
					delete(model, uint64(highest))
					all, highest = sizes()
				}
				if all+size <= w.limit {
					model[n] = size
				}
			}
			lowest := w.lowest()
			all, _ := sizes()
			for n := range model {
				lowest = min(lowest, n)
				if w.get(n) == nil {
					t.Fatalf("%d is not there", n)
				}
			}
			if w.bytes != all || len(model) > 0 && w.lowest() != lowest {
				t.Fatalf("%d bytes from %d, want %d from %d", w.bytes, w.lowest(), all, lowest)
			}
		}
	})
}

func TestWindowSpan(t *testing.T) {
	w := window{limit: 1 << 20}
	w.put(1_000_000, entry("x"))
	w.put(1_000_000+windowSpan, entry("x")) // too far ahead: it will be asked for again
	if w.last() != 1_000_000 {
		t.Errorf("held up to %d", w.last())
	}
	w.put(5, entry("y")) // what is needed first has precedence
	if w.lowest() != 5 || w.last() != 5 || w.bytes != 1 {
		t.Errorf("held from %d to %d, %d bytes", w.lowest(), w.last(), w.bytes)
	}
}
