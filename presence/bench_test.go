package presence

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/prepared"
	"github.com/mycelium-rt/mycelium/internal/race"
)

// sink is a Broadcaster that counts: how many diffs, their bytes, and their bytes times the receivers at that moment.
type sink struct {
	diffs, bytes int
	receivers    int
	delivered    int
}

func (s *sink) BroadcastLocal(_, _ string, diff any) error {
	payload := diff.(*prepared.Diff).JSON
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

func (m *member) Topic() string  { return m.topic }
func (m *member) OnEnd(f func()) { m.onEnd = f }

// Push takes a state as it is kept, as channels.Context does.
func (m *member) Push(_ string, state any) error {
	for _, message := range state.(*prepared.State).Series {
		m.bytes += message.Size()
	}
	return nil
}

// copier is a member that has a state encoded.
type copier struct{ *member }

func (m copier) Push(_ string, state any) error {
	data, err := json.Marshal(state)
	m.bytes += len(data)
	return err
}

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

// contest measures the same work in two topics in turns. Of each the best batch counts: the others were interrupted.
type contest struct {
	small, large *Tracker
	channels     []*member
	keys         []string
	best         [2][3]time.Duration // of small and large: track, update, untrack
}

func newRace(tb testing.TB, small, large int) *contest {
	const batch = 100
	r := &contest{small: room(tb, small), large: room(tb, large)}
	for i := range batch {
		r.channels = append(r.channels, &member{topic: "room:lobby"})
		r.keys = append(r.keys, fmt.Sprint("newcomer:", i))
	}
	for i := range r.best {
		r.best[i] = [3]time.Duration{time.Hour, time.Hour, time.Hour}
	}
	return r
}

func (r *contest) turn(tb testing.TB) {
	for i, tr := range []*Tracker{r.small, r.large} {
		for j, work := range []func(c *member, key string){
			func(c *member, key string) { track(tb, tr, c, key, benchMeta) },
			func(c *member, key string) { update(tb, tr, c, key, benchMeta) },
			func(c *member, key string) { tr.Untrack(c, key) },
		} {
			start := time.Now()
			for k, c := range r.channels {
				work(c, r.keys[k])
			}
			r.best[i][j] = min(r.best[i][j], time.Since(start))
		}
	}
}

// ratio is of large to small.
func (r *contest) ratio(j int) float64 { return float64(r.best[1][j]) / float64(r.best[0][j]) }

var raceWork = []string{"track", "update", "untrack"}

// BenchmarkTrackRatio prints what track, update and untrack cost in a topic of 100,000 keys to what they cost in one of 10.
func BenchmarkTrackRatio(b *testing.B) {
	r := newRace(b, 10, 100_000)
	for b.Loop() {
		r.turn(b)
	}
	for j, what := range raceWork {
		b.ReportMetric(r.ratio(j), what+"-ratio")
	}
}

// TestLargeTopicAsSmall holds BenchmarkTrackRatio to its figure, with as many turns as it takes on a machine that has
// other things to do.
func TestLargeTopicAsSmall(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector's own cost grows with memory: make test-budgets runs it without")
	}
	const limit, turns = 2.0, 500
	r := newRace(t, 10, 100_000)
	for i := range turns {
		r.turn(t)
		if i >= 10 && r.ratio(0) <= limit && r.ratio(1) <= limit && r.ratio(2) <= limit {
			return
		}
	}
	for j, what := range raceWork {
		t.Errorf("%s in a topic of 100,000 keys costs %.2f times what it costs in one of 10, want at most %.1f", what, r.ratio(j), limit)
	}
}

// BenchmarkState is a presence_state of 10,000 keys: kept, and after a change; for a channel that has it copied, and for one
// that takes it as it is.
func BenchmarkState(b *testing.B) {
	tr := room(b, 10_000)
	tracker := &member{topic: "room:lobby"}
	for name, c := range map[string]Channel{"copied": copier{tracker}, "shared": tracker} {
		push := func() {
			if err := tr.PushState(c); err != nil {
				b.Fatal(err)
			}
		}
		b.Run("kept/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				push()
			}
		})
		b.Run("changed/"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				track(b, tr, tracker, "newcomer", benchMeta)
				tr.Untrack(tracker, "newcomer")
				push()
			}
		})
	}
}

func TestAllocations(t *testing.T) {
	if race.Enabled {
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
