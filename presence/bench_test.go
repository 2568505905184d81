package presence

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

// sink is a Broadcaster that counts: how many diffs, their bytes, and their bytes times the receivers at that moment.
type sink struct {
	diffs, bytes int
	receivers    int
	delivered    int
}

func (s *sink) BroadcastJSON(_, _ string, payload []byte) error {
	s.diffs++
	s.bytes += len(payload)
	s.delivered += len(payload) * s.receivers
	return nil
}

// member is a Channel of the least kind.
type member struct {
	topic string
	onEnd func()
	bytes int // pushed
}

func (m *member) Topic() string                           { return m.topic }
func (m *member) OnEnd(f func())                          { m.onEnd = f }
func (m *member) PushJSON(_ string, payload []byte) error { m.bytes += len(payload); return nil }

var benchMeta = json.RawMessage(`{"online_at":1700000000}`)

// room returns a tracker with a topic of that many keys.
func room(tb testing.TB, keys int) *Tracker {
	tr := newTracker(tb, &sink{}, Options{})
	for i := range keys {
		track(tb, tr, &member{topic: "room:lobby"}, fmt.Sprint("user:", i), benchMeta)
	}
	return tr
}

func BenchmarkTrackUntrack(b *testing.B) {
	for _, keys := range []int{10, 100_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			tr := room(b, keys)
			c := &member{topic: "room:lobby"}
			b.ReportAllocs()
			for b.Loop() {
				track(b, tr, c, "newcomer", benchMeta)
				tr.Untrack(c, "newcomer")
			}
		})
	}
}

// BenchmarkTrackRatio prints what track, update and untrack cost in a topic of 100,000 keys to what they cost in one of 10,
// measured in turns. Of each the best batch counts: the others were interrupted.
func BenchmarkTrackRatio(b *testing.B) {
	small, large := room(b, 10), room(b, 100_000)
	const batch = 100
	channels := make([]*member, batch)
	keys := make([]string, batch)
	for i := range channels {
		channels[i], keys[i] = &member{topic: "room:lobby"}, fmt.Sprint("newcomer:", i)
	}
	turn := func(tr *Tracker) (tracks, updates, untracks time.Duration) {
		start := time.Now()
		for i, c := range channels {
			track(b, tr, c, keys[i], benchMeta)
		}
		tracks = time.Since(start)
		for i, c := range channels {
			update(b, tr, c, keys[i], benchMeta)
		}
		updates = time.Since(start) - tracks
		for i, c := range channels {
			tr.Untrack(c, keys[i])
		}
		return tracks, updates, time.Since(start) - tracks - updates
	}
	best := func(a *[3]time.Duration, tr *Tracker) {
		t, u, l := turn(tr)
		a[0], a[1], a[2] = min(a[0], t), min(a[1], u), min(a[2], l)
	}
	inSmall := [3]time.Duration{time.Hour, time.Hour, time.Hour}
	inLarge := inSmall
	for b.Loop() {
		best(&inSmall, small)
		best(&inLarge, large)
	}
	for i, what := range []string{"track-ratio", "update-ratio", "untrack-ratio"} {
		b.ReportMetric(float64(inLarge[i])/float64(inSmall[i]), what)
	}
}

// BenchmarkState is a presence_state of 10,000 keys: kept, and after a change.
func BenchmarkState(b *testing.B) {
	tr := room(b, 10_000)
	c := &member{topic: "room:lobby"}
	push := func() {
		if err := tr.PushState(c); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("kept", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			push()
		}
	})
	b.Run("changed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			track(b, tr, c, "newcomer", benchMeta)
			tr.Untrack(c, "newcomer")
			push()
		}
	})
}

// storm is size clients that join one topic within one window, all of which get the diffs.
func storm(tb testing.TB, size int, window time.Duration) *sink {
	s := &sink{}
	tr := newTracker(tb, s, Options{Window: window})
	for i := range size {
		s.receivers++
		track(tb, tr, &member{topic: "room:lobby"}, fmt.Sprint("user:", i), json.RawMessage(`{}`))
	}
	tr.Flush()
	return s
}

// TestJoinStorm: a window makes one diff of a storm. It cannot make fewer bytes of it than the metas that are
// new to those who get it: what is saved is what a diff has around a meta, here a little under a third. (A join and a leave
// that cancel save all, see TestWindowCancels.)
func TestJoinStorm(t *testing.T) {
	const size = 10_000
	each, merged := storm(t, size, 0), storm(t, size, time.Hour)
	if each.diffs != size || merged.diffs != 1 {
		t.Errorf("%d and %d diffs, want %d and 1", each.diffs, merged.diffs, size)
	}
	metas := merged.bytes - len(`{"joins":{},"leaves":{}}`) - (size - 1) // commas
	if want := metas + size*len(`{"joins":{},"leaves":{}}`); each.bytes != want {
		t.Errorf("%d bytes without a window, want %d", each.bytes, want)
	}
	if ratio := float64(merged.bytes) / float64(each.bytes); ratio > 0.75 {
		t.Errorf("%d bytes of diffs with a window, %d without: %.2f", merged.bytes, each.bytes, ratio)
	}
}

// BenchmarkJoinStorm prints what a window saves: diffs, their bytes, and their bytes times those who get them, who in a
// storm are its own clients.
func BenchmarkJoinStorm(b *testing.B) {
	var each, merged *sink
	for b.Loop() {
		each, merged = storm(b, 10_000, 0), storm(b, 10_000, time.Hour)
	}
	b.ReportMetric(float64(merged.diffs)/float64(each.diffs), "diffs-ratio")
	b.ReportMetric(float64(merged.bytes)/float64(each.bytes), "bytes-ratio")
	b.ReportMetric(float64(merged.delivered)/float64(each.delivered), "delivered-ratio")
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops at random under the race detector: make test-budgets runs it without")
	}
	tr := room(t, 100)
	c := &member{topic: "room:lobby"}
	var meta any = benchMeta
	track(t, tr, c, "ann", meta)
	if n := testing.AllocsPerRun(1000, func() { update(t, tr, c, "ann", meta) }); n > 1 {
		t.Errorf("%v allocations per update, want the meta alone", n)
	}
	if n := testing.AllocsPerRun(1000, func() {
		track(t, tr, c, "bob", meta)
		tr.Untrack(c, "bob")
	}); n > 3 {
		t.Errorf("%v allocations per track and untrack, want the meta, the presence and its entry", n)
	}
}
