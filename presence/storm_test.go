package presence

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"
)

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
	const most = 3 // what maxPayload makes of one
	if each.diffs != size || merged.diffs != most {
		t.Errorf("%d and %d diffs, want %d and %d", each.diffs, merged.diffs, size, most)
	}
	metas := merged.bytes - most*len(`{"joins":{},"leaves":{}}`) - (size - most) // commas
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
