package channels_test

import (
	"os"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/leaktest"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// TestMain fails on goroutines, descriptors, frames and buffers that are left.
func TestMain(m *testing.M) {
	if target := os.Getenv(crowdTarget); target != "" {
		os.Exit(holdCrowd(target)) // a child process of startCrowd
	}
	leaktest.Main(m, leaks.Counts...)
}

// leaks checks what tests with a server leave.
var leaks = leaktest.Quiet{Counts: []leaktest.Count{{Name: "frames", Live: netloop.LiveFrames}, {Name: "buffers", Live: websocket.LiveBuffers}}}
