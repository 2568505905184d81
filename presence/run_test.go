package presence

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/prepared"
)

// text is a state in one message.
func text(t *testing.T, list []prepared.Message) string {
	t.Helper()
	if len(list) != 1 {
		t.Fatalf("%d messages", len(list))
	}
	return string(appendParts(nil, list[0].Parts))
}

// checkRuns holds the runs of large keys against these, and the sizes against their
// bounds.
func checkRuns(t *testing.T, tp *topic) {
	t.Helper()
	for c := tp.first; c != nil; c = c.next {
		large := 0
		for _, e := range c.entries {
			r := tp.large[e]
			if r == nil {
				continue
			}
			large++
			var members []*presence
			for _, one := range r.list {
				size := 0
				for _, p := range one.members {
					size += 1 + len(sent(tp, p))
					if r.of[p] != one {
						t.Fatal("a presence is in another run")
					}
				}
				if len(one.members) == 0 || one.size != size {
					t.Fatalf("a run of %d: size %d, want %d", len(one.members), one.size, size)
				}
				members = append(members, one.members...)
			}
			var known []*presence
			for p := e.first; p != nil; p = p.next {
				if sent(tp, p) != "" {
					known = append(known, p)
				}
			}
			if !slices.Equal(members, known) || len(r.of) != len(known) {
				t.Fatalf("%q: the runs have %d presences, clients know %d", e.key, len(members), len(known))
			}
		}
		if c.large != large {
			t.Fatalf("%d large keys in a chunk, want %d", c.large, large)
		}
	}
}

// TestLargeKeys has many channels track few keys, at random: a state is what it
// would be if it was encoded anew, and those taken before do not change.
func TestLargeKeys(t *testing.T) {
	for _, window := range []time.Duration{0, time.Hour} {
		t.Run(window.String(), func(t *testing.T) {
			random := rand.New(rand.NewPCG(3, 4))
			tr := newTracker(t, &sink{}, Options{Window: window})
			tr.chunkBytes, tr.maxPayload = 600, 1<<20
			type taken struct {
				list []prepared.Message
				want string
			}
			var old []taken
			var members []*member
			large := 0
			for i := range 4000 {
				switch n := random.IntN(12); {
				case n < 4 || len(members) < 20:
					c := &member{topic: "room:1"}
					members = append(members, c)
					key := fmt.Sprint("user:", random.IntN(1+random.IntN(30)))
					track(t, tr, c, key, json.RawMessage(fmt.Sprintf(`{"i":%d,"m":%q}`, i, strings.Repeat("m", random.IntN(150)))))
				case n < 7:
					at := random.IntN(len(members))
					members[at].onEnd()
					members = slices.Delete(members, at, at+1)
				case n == 7 && i%400 > 300: // most leave
					for len(members) > 5 {
						members[0].onEnd()
						members = members[1:]
					}
				case n == 8:
					tr.Flush()
				default:
					tp := tr.stripe("room:1").topics["room:1"]
					if tp == nil {
						continue
					}
					list, want := tp.encoded(), fresh(tp)
					if got := text(t, list); got != want {
						t.Fatalf("step %d: state\n%s\nwant\n%s", i, got, want)
					}
					checkChunks(t, tp)
					checkRuns(t, tp)
					large = max(large, len(tp.large))
					old = append(old, taken{list, want})
				}
			}
			for i, o := range old {
				if text(t, o.list) != o.want {
					t.Fatalf("state %d has changed after it was taken", i)
				}
			}
			if len(old) < 250 || large < 2 {
				t.Errorf("only %d states, %d large keys", len(old), large)
			}
		})
	}
}

// TestLargeKeysKeepPace: what a change of a key that thousands have tracked makes
// anew does not grow with their number, wherever the keys lie that have grown.
func TestLargeKeysKeepPace(t *testing.T) {
	meta := json.RawMessage(`{"m":"` + strings.Repeat("m", 1000) + `"}`)
	for name, key := range map[string]func(i int) string{
		"one key":              func(int) string { return "eve" },
		"keys that have grown": func(i int) string { return fmt.Sprint("eve", i%300) },
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTracker(t, &sink{}, Options{})
			members := make([]*member, 3000)
			for i := range members {
				members[i] = &member{topic: "room:1"}
				m := meta
				if i < 300 {
					m = json.RawMessage(`{}`)
				}
				track(t, tr, members[i], key(i), m)
			}
			tp := tr.stripe("room:1").topics["room:1"]
			before := tp.encoded()
			for _, i := range []int{1500, 299, 0, 2999, 2000} {
				members[i].onEnd()
				track(t, tr, &member{topic: "room:1"}, key(i), meta)
				after := tp.encoded()
				if n := newBytes(before, after); n > 8*defaultChunkBytes {
					t.Errorf("%d bytes are made anew by one who leaves and comes back", n)
				}
				before = after
			}
		})
	}
}

// newBytes is how many bytes of a state are not those of another.
func newBytes(before, after []prepared.Message) (n int) {
	known := map[*byte]int{}
	for _, m := range before {
		for _, p := range m.Parts {
			if b := p.Text(); len(b) > 0 {
				known[&b[0]] = len(b)
			}
		}
	}
	for _, m := range after {
		for _, p := range m.Parts {
			if b := p.Text(); len(b) > 0 && known[&b[0]] == 0 {
				n += len(b)
			}
		}
	}
	return n
}
