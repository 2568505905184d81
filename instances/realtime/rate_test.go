package realtime

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestMeter: the mean is over the last minute, and is computed every 5 s.
func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var total int64
		m := meter{total: func() int64 { return total }}
		at := func(seconds int, add int64, want uint64) {
			t.Helper()
			time.Sleep(time.Duration(seconds) * time.Second)
			total += add
			if got := m.perSecond(time.Now()); got != want {
				t.Errorf("mean %d, want %d", got, want)
			}
		}
		total = 1000 // before anybody asked
		at(0, 0, 0)
		at(4, 600, 0) // not yet
		at(1, 0, 10)
		at(5, 600, 20)
		for range 9 {
			at(5, 0, 20)
		}
		at(5, 0, 20) // 60 s after the first sample
		at(5, 0, 10) // the first 600 are older than a minute
		at(5, 0, 0)
		at(600, 600, 1) // nobody asked for ten minutes: the mean since then
		if l := (&logic{now: time.Now}); l.above(&m, 1) || l.above(&m, 0) {
			t.Error("above a limit that it only reaches")
		}
	})
}

// TestDelay: a refused join waits, unless its client has gone.
func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		wait(t.Context(), 5*time.Second)
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("waited %s", took)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		start = time.Now()
		wait(gone, 5*time.Second)
		if took := time.Since(start); took != 0 {
			t.Errorf("waited %s for a client that has gone", took)
		}
	})
}
