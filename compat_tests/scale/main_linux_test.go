package scale

import (
	"flag"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mycelium-rt/mycelium/internal/leaktest"
	"github.com/mycelium-rt/mycelium/internal/race"
)

// heapFile takes the server's heap profile when all clients have joined.
var heapFile = flag.String("heap", "", "write the server's heap profile, every allocation counted, to this `file`")

// patience is how long a test waits for what must happen; only failing tests
// wait that long. It is shorter than the time after which the server closes
// idle sockets.
const patience = 45 * time.Second

// TestMain is the main of the servers and of the flooding clients too, in the
// processes that startServer and startFlood start.
// It fails on goroutines and descriptors that are left.
func TestMain(m *testing.M) {
	if values := os.Getenv(serverEnv); values != "" {
		os.Exit(serve(values))
	}
	if values := os.Getenv(flooderEnv); values != "" {
		os.Exit(flood(values))
	}
	leaktest.Main(m)
}

// full is for what takes minutes, or compares times: "make scale".
var full = flag.Bool("full", false, "the tests at full scale: 19,000 connections, and the ratios of latencies and of CPU times")

// crowdSize is for people who want to see how a crowd grows.
var crowdSize = flag.Int("crowd", fullScale, "how many `clients` TestScaleCrowd has")

// needsFull skips a test without -full.
func needsFull(t *testing.T) {
	t.Helper()
	if !*full {
		t.Skip("only with -full: make scale")
	}
}

// fullScale is a process's worth of connections where the limit on open files
// is 20,000.
const fullScale = 19_000

// clients is how many a test uses: all of them, or fullScale with -full, fewer where that would take
// too long, and no more than the limit on open files lets a process have.
func clients(t *testing.T, all, few int) int {
	t.Helper()
	n := all
	if race.Enabled || testing.Short() {
		n = few
	} else if *full {
		n = fullScale
	}
	return affordable(t, n)
}

// affordable is n, or what the limit on open files lets a process have.
func affordable(t *testing.T, n int) int {
	t.Helper()
	const others = 200 // descriptors that are no client's, generously
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if most := int(min(limit.Cur, 1<<20)) - others; n > most {
		t.Logf("%d clients instead of %d: the limit on open files (ulimit -n) is %d", most, n, limit.Cur)
		n = most
	}
	return n
}
