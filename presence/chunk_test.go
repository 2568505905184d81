package presence

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/prepared"
)

// fresh is a topic's state as encoded would have it, encoded in one go.
func fresh(tp *topic) string {
	dst := []byte("{")
	for c := tp.first; c != nil; c = c.next {
		for _, e := range c.entries {
			dst = tp.appendEntry(dst, e, sent, len(dst) > 1)
		}
	}
	return string(append(dst, '}'))
}

func appendParts(dst []byte, parts []*prepared.Part) []byte {
	for _, part := range parts {
		dst = append(dst, part.Text()...)
	}
	return dst
}

// checkChunks holds a topic's chunks against what they are made of.
func checkChunks(t *testing.T, tp *topic) (chunks int) {
	t.Helper()
	entries := 0
	var prev *chunk
	for c := tp.first; c != nil; prev, c = c, c.next {
		chunks++
		entries += len(c.entries)
		size := 0
		for _, e := range c.entries {
			size += len(e.key) + entryOverhead
			for p := e.first; p != nil; p = p.next {
				size += len(p.meta)
			}
			if e.chunk != c || tp.entries[e.key] != e {
				t.Fatalf("%q is lost", e.key)
			}
		}
		if c.prev != prev || c.size != size || len(c.entries) == 0 {
			t.Fatalf("chunk %d of %d entries: size %d, want %d", chunks, len(c.entries), c.size, size)
		}
	}
	if tp.last != prev || entries != len(tp.entries) {
		t.Fatalf("%d entries in chunks, %d keys", entries, len(tp.entries))
	}
	return chunks
}

// TestChunks has keys come, change and go at random: a state that was kept in parts is at any time what one would be that is
// encoded anew, and those that were taken before do not change.
func TestChunks(t *testing.T) {
	for _, window := range []time.Duration{0, time.Hour} {
		t.Run(window.String(), func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			tr := newTracker(t, &sink{}, Options{Window: window})
			tr.chunkBytes = 2000 // some 25 keys
			type taken struct {
				parts []*prepared.Part
				want  string
			}
			var old []taken
			var members []*member
			join := func(i int) {
				c := &member{topic: "room:1"}
				members = append(members, c)
				track(t, tr, c, fmt.Sprint("user:", i), benchMeta)
			}
			const size = 500
			for i := range size {
				join(i)
			}
			for i := range 2000 {
				at := random.IntN(len(members))
				switch c := members[at]; random.IntN(6) {
				case 0, 1:
					c.onEnd()
					members = slices.Delete(members, at, at+1)
					join(random.IntN(2 * size))
				case 2:
					track(t, tr, c, fmt.Sprint("other:", i), benchMeta)
				case 3:
					tr.UntrackAll(c)
					track(t, tr, c, fmt.Sprint("again:", i), json.RawMessage(`{}`))
				case 4:
					tr.Flush()
				default:
					if tp := tr.stripe("room:1").topics["room:1"]; tp != nil {
						parts, want := tp.encoded()[0].Parts, fresh(tp)
						if got := string(appendParts(nil, parts)); got != want {
							t.Fatalf("step %d: state\n%s\nwant\n%s", i, got, want)
						}
						checkChunks(t, tp)
						old = append(old, taken{parts, want})
					}
				}
			}
			for i, o := range old {
				if string(appendParts(nil, o.parts)) != o.want {
					t.Fatalf("state %d has changed after it was taken", i)
				}
			}
			if len(old) < 250 {
				t.Errorf("only %d states", len(old))
			}
		})
	}
}

// TestChunksShrink: a topic that was once large and is thinly left is not in as many chunks as then.
func TestChunksShrink(t *testing.T) {
	const size, left = 5000, 50
	tr := newTracker(t, &sink{}, Options{})
	tr.chunkBytes = 2000
	members := make([]*member, size)
	for i := range members {
		members[i] = &member{topic: "room:1"}
		track(t, tr, members[i], fmt.Sprint("user:", i), benchMeta)
	}
	tp := tr.stripe("room:1").topics["room:1"]
	before := checkChunks(t, tp)
	for i, c := range members {
		if i%(size/left) != 0 {
			c.onEnd()
		}
	}
	if after := checkChunks(t, tp); before < size/30 || after > 2*before*left/size+5 {
		t.Errorf("%d chunks with %d keys, %d with %d", before, size, after, left)
	}
	if got, want := string(appendParts(nil, tp.encoded()[0].Parts)), fresh(tp); got != want {
		t.Errorf("state %s, want %s", got, want)
	}
}

// TestStateKeepsPace: a join into a topic whose state is known appends to it and encodes nothing else again.
func TestStateKeepsPace(t *testing.T) {
	tr := room(t, 100)
	tp := tr.stripe("room:lobby").topics["room:lobby"]
	before := tp.encoded()[0].Parts
	track(t, tr, &member{topic: "room:lobby"}, "newcomer", benchMeta)
	if tp.last.encoded == nil {
		t.Fatal("the chunk is encoded again for a new key")
	}
	after := tp.encoded()[0].Parts
	if was, is := before[1].Text(), after[1].Text(); &was[0] != &is[0] && cap(was) != len(was) {
		t.Error("moved without need")
	}
	if got, want := string(appendParts(nil, after)), fresh(tp); got != want {
		t.Errorf("state %s, want %s", got, want)
	}
}

// TestPartsStay: what is made of a part, compressed for example, serves all states until its chunk changes.
func TestPartsStay(t *testing.T) {
	tr := room(t, 2000)
	tp := tr.stripe("room:lobby").topics["room:lobby"]
	before := tp.encoded()[0].Parts
	track(t, tr, &member{topic: "room:lobby"}, "newcomer", benchMeta)
	after := tp.encoded()[0].Parts
	if len(before) < 5 || len(after) != len(before) {
		t.Fatalf("%d parts, then %d; want the same, several", len(before), len(after))
	}
	for i := range before {
		if changed := before[i] != after[i]; changed != (i == len(before)-2) {
			t.Errorf("part %d of %d is another one: %t", i, len(before), changed)
		}
	}
}
