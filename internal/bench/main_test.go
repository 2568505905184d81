package bench

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain is the workers' main too. It fails on goroutines and descriptors
// that are left.
func TestMain(m *testing.M) {
	Worker()
	// Workers under the race detector would wait a second before they end.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	before := openDescriptors()
	code := m.Run()
	if code == 0 {
		code = leaks(before)
	}
	os.Exit(code)
}

func leaks(before int) int {
	if err := goleak.Find(); err != nil {
		fmt.Println("goroutines left:", err)
		return 1
	}
	// Go's own poller, its eventfd and its pidfd are opened once, on first use.
	if after := openDescriptors(); before >= 0 && after > before+3 {
		fmt.Printf("descriptors left: %d before, %d after\n", before, after)
		return 1
	}
	return 0
}

// openDescriptors returns -1 where the system does not say.
func openDescriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}
