package bench

import (
	"os"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/leaktest"
)

// TestMain is the workers' main too. It fails on goroutines and descriptors
// that are left.
func TestMain(m *testing.M) {
	Worker()
	// Workers under the race detector would wait a second before they end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	leaktest.Main(m)
}
