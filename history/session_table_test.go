package history

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestSessionTable compares the table with a map.
func TestSessionTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table sessionTable
		want := make(map[SessionKey]*Session)
		keys := rapid.IntRange(1, 400).Draw(t, "keys")
		for range rapid.IntRange(0, 600).Draw(t, "steps") {
			n := rapid.IntRange(0, keys-1).Draw(t, "key")
			key := SessionKey{byte(n), byte(n >> 8)}
			if rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
				table.remove(key)
				delete(want, key)
			} else {
				one := &Session{key: key}
				table.put(one)
				want[key] = one
			}
			if table.count != len(want) {
				t.Fatalf("%d sessions, want %d", table.count, len(want))
			}
		}
		for n := range keys {
			key := SessionKey{byte(n), byte(n >> 8)}
			if got := table.find(key); got != want[key] {
				t.Fatalf("key %d: %v, want %v", n, got, want[key])
			}
		}
		got := make(map[SessionKey]*Session)
		for one := range table.all() {
			got[one.key] = one
		}
		if !maps.Equal(got, want) {
			t.Fatalf("all: %d, want %d", len(got), len(want))
		}
	})
}

// TestSessionTableGivesMemoryBack: it does not stay as large as it was.
func TestSessionTableGivesMemoryBack(t *testing.T) {
	var table sessionTable
	var all []*Session
	for n := range 10000 {
		all = append(all, &Session{key: SessionKey{byte(n), byte(n >> 8)}})
		table.put(all[n])
		if slots := len(table.slots); n >= 1000 && slots > (n+1)*5/3 {
			t.Fatalf("%d slots for %d sessions", slots, n+1)
		}
	}
	for n, one := range slices.Backward(all) {
		table.remove(one.key)
		if slots := len(table.slots); slots > max(tableLeast, n*5) {
			t.Fatalf("%d slots for %d sessions", slots, n)
		}
	}
	if table.slots != nil {
		t.Errorf("an empty table has %d slots", len(table.slots))
	}
}
