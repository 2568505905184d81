package channels_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// TestMain fails on goroutines, descriptors, frames and buffers that are left.
func TestMain(m *testing.M) {
	if target := os.Getenv(crowdTarget); target != "" {
		os.Exit(holdCrowd(target)) // a child process of startCrowd
	}
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
	// Go's own poller and its eventfd are opened once, on first use.
	if after := settledDescriptors(before + 2); before >= 0 && after > before+2 {
		fmt.Printf("descriptors left: %d before, %d after\n", before, after)
		return 1
	}
	if n := netloop.LiveFrames(); n != 0 {
		fmt.Println("frames left:", n)
		return 1
	}
	if n := websocket.LiveBuffers(); n != 0 {
		fmt.Println("buffers left:", n)
		return 1
	}
	return 0
}

// settledDescriptors counts until there are no more than wanted, or a second
// has passed: net/http closes its idle connections on goroutines of its own.
func settledDescriptors(wanted int) (n int) {
	for range 100 {
		if n = openDescriptors(); n <= wanted {
			return n
		}
		time.Sleep(10 * time.Millisecond)
	}
	return n
}

// openDescriptors returns -1 where the system does not say.
func openDescriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1
	}
	return len(entries)
}
