package chat

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

func say(t testing.TB, b *backlog, body, key string, now time.Time) (Message, bool) {
	t.Helper()
	e, again, err := b.add("ada", body, key, now)
	if err != nil {
		t.Fatal(err)
	}
	return e.Message, again
}

func bodies(t testing.TB, texts []json.RawMessage) string {
	t.Helper()
	list := make([]string, len(texts))
	for i, text := range texts {
		var m Message
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		list[i] = m.Body
	}
	return strings.Join(list, " ")
}

func TestBacklogIsBounded(t *testing.T) {
	for name, test := range map[string]struct {
		bounds bounds
		want   string
	}{
		"messages": {bounds{2, 1 << 20, time.Hour}, "m3 m4"},
		"bytes":    {bounds{100, 200, time.Hour}, "m3 m4"},
		"age":      {bounds{100, 1 << 20, time.Second}, "m3 m4"},
		"none":     {bounds{0, 1 << 20, time.Hour}, ""},
		"room":     {bounds{100, 1 << 20, time.Hour}, "m0 m1 m2 m3 m4"},
	} {
		b := &backlog{bounds: test.bounds}
		now := noon
		for i := range 5 {
			now = noon.Add(time.Duration(i) * time.Second)
			say(t, b, fmt.Sprint("m", i), "", now)
		}
		if texts, complete := b.since(0, now); bodies(t, texts) != test.want || complete != (name == "room") {
			t.Errorf("%s: %q, complete %v; want %q", name, bodies(t, texts), complete, test.want)
		}
	}
}

func TestSince(t *testing.T) {
	b := &backlog{bounds: bounds{3, 1 << 20, time.Hour}}
	var ids []int64
	for i := range 5 {
		m, _ := say(t, b, fmt.Sprint("m", i), "", noon)
		ids = append(ids, m.ID)
	}
	for i, want := range []struct {
		texts    string
		complete bool
	}{{"m2 m3 m4", false}, {"m2 m3 m4", true}, {"m3 m4", true}, {"m4", true}, {"", true}} {
		if texts, complete := b.since(ids[i], noon); bodies(t, texts) != want.texts || complete != want.complete {
			t.Errorf("since m%d: %q, %v; want %+v", i, bodies(t, texts), complete, want)
		}
	}
	b.clear()
	if texts, complete := b.since(ids[1], noon); len(texts) != 0 || complete {
		t.Errorf("after clear: %s, %v", texts, complete)
	}
}

func TestAMessageThatIsSentAgainIsOne(t *testing.T) {
	b := &backlog{bounds: bounds{10, 1 << 20, time.Hour}}
	first, _ := say(t, b, "hello", "k", noon)
	if second, again := say(t, b, "hello", "k", noon); !again || second.ID != first.ID {
		t.Errorf("sent again: %+v, %v", second, again)
	}
	if e, again, _ := b.add("bob", "hello", "k", noon); again || e.ID == first.ID {
		t.Errorf("another's key: %+v, %v", e, again)
	}
}

// TestBacklogOverRestarts: whatever is said when, restarted when, the ids rise
// and what is kept is within the bounds and the newest there is.
func TestBacklogOverRestarts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := bounds{rapid.IntRange(0, 5).Draw(t, "messages"), rapid.IntRange(1, 600).Draw(t, "bytes"), 10 * time.Second}
		b, now, last := &backlog{bounds: limits}, noon, int64(0)
		var model []Message
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(-1, 4000).Draw(t, "ms")) * time.Millisecond) // clocks are set back
			e, _, err := b.add("ada", rapid.StringN(1, 20, 60).Draw(t, "body"), "", now)
			if err != nil || e.ID <= last {
				t.Fatalf("id %d after %d, %v", e.ID, last, err)
			}
			last = e.ID
			model = append(model, e.Message)
			if rapid.Bool().Draw(t, "restart") {
				data, err := b.encode("lobby")
				if err != nil {
					t.Fatal(err)
				}
				b = &backlog{bounds: limits}
				if err := b.decode(data, now); err != nil {
					t.Fatal(err)
				}
			}
			size := 0
			for i, kept := range b.kept {
				size += len(kept.text)
				if want := model[len(model)-len(b.kept)+i]; kept.Message != want {
					t.Fatalf("kept %+v, want %+v", kept.Message, want)
				}
			}
			if len(b.kept) > limits.messages || size > limits.bytes || size != b.bytes {
				t.Fatalf("%d messages of %d bytes, counted %d, within %+v", len(b.kept), size, b.bytes, limits)
			}
		}
	})
}

func TestADamagedBacklogIsAnError(t *testing.T) {
	for _, data := range []string{"", "[]", `{"messages":[1]}`, `{"messages":[{"id":"x"}]}`} {
		if err := new(backlog).decode([]byte(data), noon); err == nil {
			t.Errorf("%q was taken", data)
		}
	}
}
