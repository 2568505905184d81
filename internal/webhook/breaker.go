package webhook

import (
	"math/bits"
	"math/rand/v2"
	"sync"
	"time"
)

// A breaker stops calls to a back end that does not answer: after opensAfter failures among the last
// outcomes, if they are at least half of these. It then lets one call through from time to time, and
// all of them as soon as one succeeds.
type breaker struct {
	mu sync.Mutex

	// Guarded by mu.
	outcomes uint32        // of the last calls, a bit each: 1 is a failure
	known    int           // how many bits of outcomes are in use
	pause    time.Duration // before the next probe; 0: the breaker is closed
	until    time.Time     // the end of pause
	probing  bool          // a probe has not ended
}

const (
	outcomesKept = 20
	opensAfter   = 5
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

// allow reports whether a call may be made, and whether it is the one that finds out about a back end
// that was away. If it is, report or forget must be called at its end.
func (b *breaker) allow(now time.Time) (ok, probe bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.pause == 0:
		return true, false
	case b.probing || now.Before(b.until):
		return false, false
	}
	b.probing = true
	return true, true
}

// isOpen reports whether the back end is considered away.
func (b *breaker) isOpen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pause > 0
}

// report takes the outcome of a call, and reports whether it has opened or closed the breaker.
func (b *breaker) report(now time.Time, probe, ok bool) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch wasOpen := b.pause > 0; {
	case ok:
		if wasOpen {
			b.outcomes, b.known = 0, 0
		}
		b.note(0)
		b.pause, b.probing = 0, false
		return wasOpen
	case !wasOpen:
		b.note(1)
		failed := bits.OnesCount32(b.outcomes)
		if failed < opensAfter || 2*failed < b.known {
			return false
		}
		b.open(now, firstPause)
		return true
	case probe:
		b.open(now, min(2*b.pause, longestPause))
	}
	return false // a call that was made before the breaker opened
}

// forget ends a call without an outcome.
func (b *breaker) forget(probe bool) {
	if probe {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.probing = false
	}
}

func (b *breaker) note(bit uint32) {
	b.outcomes = (b.outcomes<<1 | bit) & (1<<outcomesKept - 1)
	b.known = min(b.known+1, outcomesKept)
}

// open opens the breaker for pause, more or less, so that the nodes of a cluster do not all ask at once.
func (b *breaker) open(now time.Time, pause time.Duration) {
	b.pause, b.probing = pause, false
	b.until = now.Add(pause*3/4 + rand.N(pause/2))
}
