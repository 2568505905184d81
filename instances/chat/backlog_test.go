package chat

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/mycelium-rt/mycelium/history"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// kept is what a history with a rule keeps of a backlog.
type kept struct {
	backlog
	rule history.Rule
	list []entry
}

func (k *kept) say(t rapid.TB, body, key string, now time.Time) (Message, bool) {
	t.Helper()
	m, again, err := k.find("ada", key, func() ([]entry, error) { return k.list, nil })
	if err != nil {
		t.Fatal(err)
	}
	if again {
		return m, true
	}
	m = k.next("ada", body, key, now)
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	k.sent(&m, k.rule.Messages)
	k.list = merge(k.list, []entry{{m.ID, m.At, text}}, &k.rule, now)
	return m, false
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
		rule history.Rule
		want string
	}{
		"messages": {history.Rule{Messages: 2, Bytes: 1 << 20, Age: time.Hour}, "m3 m4"},
		"bytes":    {history.Rule{Messages: 100, Bytes: 260, Age: time.Hour}, "m3 m4"},
		"age":      {history.Rule{Messages: 100, Bytes: 1 << 20, Age: time.Second}, "m3 m4"},
		"none":     {history.Rule{Messages: 0, Bytes: 1 << 20, Age: time.Hour}, ""},
		"room":     {history.Rule{Messages: 100, Bytes: 1 << 20, Age: time.Hour}, "m0 m1 m2 m3 m4"},
	} {
		k := &kept{rule: test.rule}
		for i := range 5 {
			k.say(t, fmt.Sprint("m", i), "", noon.Add(time.Duration(i)*time.Second))
		}
		if texts, complete := k.since(k.list, 0); bodies(t, texts) != test.want || complete != (name == "room") {
			t.Errorf("%s: %q, complete %v; want %q", name, bodies(t, texts), complete, test.want)
		}
	}
}

func TestSince(t *testing.T) {
	k := &kept{rule: history.Rule{Messages: 3, Bytes: 1 << 20, Age: time.Hour}}
	var ids []int64
	for i := range 5 {
		m, _ := k.say(t, fmt.Sprint("m", i), "", noon)
		ids = append(ids, m.ID)
	}
	for i, want := range []struct {
		texts    string
		complete bool
	}{{"m2 m3 m4", false}, {"m2 m3 m4", true}, {"m3 m4", true}, {"m4", true}, {"", true}} {
		if texts, complete := k.since(k.list, ids[i]); bodies(t, texts) != want.texts || complete != want.complete {
			t.Errorf("since m%d: %q, %v; want %+v", i, bodies(t, texts), complete, want)
		}
	}
	k.clear()
	if texts, complete := k.since(nil, ids[1]); len(texts) != 0 || complete {
		t.Errorf("after clear: %s, %v", texts, complete)
	}
}

func TestAMessageThatIsSentAgainIsOne(t *testing.T) {
	k := &kept{rule: history.Rule{Messages: 2, Bytes: 1 << 20, Age: time.Hour}}
	first, _ := k.say(t, "hello", "k", noon)
	if second, again := k.say(t, "hello", "k", noon); !again || second.ID != first.ID {
		t.Errorf("sent again: %+v, %v", second, again)
	}
	if _, again, err := k.find("bob", "k", func() ([]entry, error) { return k.list, nil }); again || err != nil {
		t.Errorf("another's key: %v, %v", again, err)
	}
	k.say(t, "m1", "", noon)
	k.say(t, "m2", "", noon)
	if second, again := k.say(t, "hello", "k", noon); again || second.ID == first.ID {
		t.Errorf("sent again when it was no longer kept: %+v, %v", second, again)
	}
}

// TestBacklogOverRestarts: whatever is said when, restarted when, the ids rise
// and what is kept is within the bounds and the newest there is. A client that has the
// messages up to any one is told whether something is missing.
func TestBacklogOverRestarts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rule := history.Rule{Messages: rapid.IntRange(0, 5).Draw(t, "messages"), Bytes: rapid.IntRange(1, 800).Draw(t, "bytes"), Age: 10 * time.Second}
		k, now, last := &kept{rule: rule}, noon, int64(0)
		var model []Message
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(-1, 4000).Draw(t, "ms")) * time.Millisecond) // clocks are set back
			m, _ := k.say(t, rapid.StringN(1, 20, 60).Draw(t, "body"), "", now)
			if m.ID <= last {
				t.Fatalf("id %d after %d", m.ID, last)
			}
			last = m.ID
			model = append(model, m)
			if rapid.Bool().Draw(t, "restart") {
				data, err := k.encode("lobby", k.list)
				if err != nil {
					t.Fatal(err)
				}
				s, stored, err := decode(data)
				if err != nil {
					t.Fatal(err)
				}
				k = &kept{rule: rule, list: merge(stored, nil, &rule, now)}
				k.restore(&s, stored, k.list)
			}
			if len(k.list) > rule.Messages {
				t.Fatalf("%d messages are kept", len(k.list))
			}
			for i, e := range k.list {
				if want := model[len(model)-len(k.list)+i]; e.id != want.ID {
					t.Fatalf("kept %s, want %+v", e.text, want)
				}
			}
			has := rapid.IntRange(0, len(model)).Draw(t, "has") // so many messages
			id := int64(0)
			if has > 0 {
				id = model[has-1].ID
			}
			texts, complete := k.since(k.list, id)
			if want := has+len(texts) == len(model); complete != want && (complete || len(model)-has < 64) {
				t.Fatalf("a client with %d of %d messages gets %d, complete %v", has, len(model), len(texts), complete)
			}
		}
	})
}

func TestADamagedBacklogIsAnError(t *testing.T) {
	for _, data := range []string{"", "[]", `{"messages":[1]}`, `{"messages":[{"id":"x"}]}`} {
		if _, _, err := decode([]byte(data)); err == nil {
			t.Errorf("%q was taken", data)
		}
	}
}

func TestIDOf(t *testing.T) {
	for text, want := range map[string]int64{
		`{"id":17,"user":"ada"}`: 17, `{"user":"ada", "id": 17}`: 17, `{"id":17}`: 17,
		`{"id":"17","user":"ada"}`: 0, `{"id":1.5,"x":1}`: 0, `{"id":17`: 0, `[]`: 0, `{}`: 0, ``: 0,
	} {
		if got := idOf([]byte(text)); got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}
