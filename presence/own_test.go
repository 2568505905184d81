package presence

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestOwnWhileChunksChange: a presence that does not change is not left out because the chunk that Own has just visited
// went, and the one before it was split.
func TestOwnWhileChunksChange(t *testing.T) {
	tr := newTracker(t, &sink{}, Options{})
	tr.chunkBytes = 400
	meta := func(size int) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`{"of":"%s"}`, strings.Repeat("x", size)))
	}
	members := make(map[string]*member)
	for _, key := range []string{"a", "b", "c", "z"} {
		members[key] = &member{topic: "room:1"}
		track(t, tr, members[key], key, meta(100))
	}
	tp := tr.stripe("room:1").topics["room:1"]
	if chunks := checkChunks(t, tp); chunks != 2 || len(tp.last.entries) != 1 {
		t.Fatalf("%d chunks, %d entries in the last: the test needs others", chunks, len(tp.last.entries))
	}
	var told []string
	tr.Own(func(_, key, _ string) {
		told = append(told, key)
		if key == "z" {
			tr.Untrack(members["z"], "z")
			update(t, tr, members["a"], "a", meta(1000))
			if chunks := checkChunks(t, tp); chunks != 2 {
				t.Errorf("%d chunks: the first was not split", chunks)
			}
		}
	})
	for _, key := range []string{"b", "c"} {
		if !slices.Contains(told, key) {
			t.Errorf("Own has told of %q, and not of %q", told, key)
		}
	}
	if got, want := string(appendParts(nil, tp.encoded()[0].Parts)), fresh(tp); got != want {
		t.Errorf("state\n%s\nwant\n%s", got, want)
	}
}
