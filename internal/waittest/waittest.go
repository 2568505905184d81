// Package waittest waits in tests for what must happen, however loaded the machine
// is.
package waittest

import (
	"testing"
	"time"
)

// Patience is how long For waits. Only a test that fails waits that long.
const Patience = 90 * time.Second

// maxPause bounds the time between two calls of done: it may be a request.
const maxPause = 20 * time.Millisecond

// For returns when done reports true. It calls done again and again, on the test's
// goroutine. After Patience the test fails with what it waited for.
func For(t testing.TB, what string, done func() bool) {
	t.Helper()
	pause := time.Millisecond
	for deadline := time.Now().Add(Patience); !done(); pause = min(2*pause, maxPause) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", Patience, what)
		}
		time.Sleep(pause)
	}
}
