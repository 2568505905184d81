package boltstore

import (
	"testing"
	"time"
)

// SetLockTimeout changes how long Open waits for another process, until the test
// ends.
func SetLockTimeout(t *testing.T, d time.Duration) {
	was := lockTimeout
	lockTimeout = d
	t.Cleanup(func() { lockTimeout = was })
}
