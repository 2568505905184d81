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

// heapFile is where the server's heap profile goes when all clients have joined.
var heapFile = flag.String("heap", "", "write the server's heap profile, with every allocation, to this `file`")

// patience is how long a test waits for a condition. Only failing tests wait that long. It
// is shorter than the server's idle timeout.
const patience = 45 * time.Second

// TestMain is also the main function of the servers and of the flooding clients, in the
// processes that startServer and startFlood start. It fails if goroutines or descriptors
// are left.
func TestMain(m *testing.M) {
	if values := os.Getenv(serverEnv); values != "" {
		os.Exit(serve(values))
	}
	if values := os.Getenv(flooderEnv); values != "" {
		os.Exit(flood(values))
	}
	leaktest.Main(m)
}

// full enables what takes minutes, and comparisons of times: "make scale".
var full = flag.Bool("full", false, "run at full scale: 19,000 connections, and ratios of latencies and CPU times")

// crowdSize lets people see how the cost of a crowd grows.
var crowdSize = flag.Int("crowd", fullScale, "how many `clients` TestScaleCrowd has")

// needsFull skips a test without -full.
func needsFull(t *testing.T) {
	t.Helper()
	if !*full {
		t.Skip("only with -full: make scale")
	}
}

// fullScale is how many connections a process can have if the limit on open files is
// 20,000.
const fullScale = 19_000

// clients returns how many clients a test uses: all, or fullScale with -full, or few where
// more would take too long; and no more than the limit on open files allows.
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

// affordable returns n, or less if the limit on open files requires it.
func affordable(t *testing.T, n int) int {
	t.Helper()
	const others = 200 // more than enough descriptors for everything else
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
