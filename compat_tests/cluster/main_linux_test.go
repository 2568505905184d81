package cluster

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/internal/bench"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

var (
	duration = flag.Duration("for", 0, "how `long` TestTrial stops and kills servers; 0 runs no test of this package")
	clients  = flag.Int("clients", 300, "how many `clients` TestTrial has")
	seed     = flag.Uint64("seed", 0, "the `seed` of what is random; 0: one that differs from run to run")
)

// patience is how long a test waits for what must happen; only failing tests
// wait that long.
const patience = 90 * time.Second

// binary is the path of the server, built for this run.
var binary string

// TestMain builds the server, and fails on goroutines that are left.
func TestMain(m *testing.M) {
	bench.Worker() // of TestMillion
	runHerd()      // of TestComeback
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if *duration <= 0 && *million <= 0 && *takeovers <= 0 && *storm <= 0 && *comebacks <= 0 {
		return m.Run() // each test skips, and says why
	}
	dir, err := os.MkdirTemp("", "mycelium-trial-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "mycelium")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/mycelium").CombinedOutput(); err != nil {
		fmt.Printf("building the server: %v\n%s", err, out)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Println("goroutines left:", err)
		return 1
	}
	return code
}

// needsTrial skips a test unless a trial was asked for.
func needsTrial(t *testing.T) {
	t.Helper()
	if *duration <= 0 {
		t.Skip("only with -for: make trial")
	}
}

var wait = waittest.For

// secretFile makes the secret of a cluster.
func secretFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cluster.secret")
	if err := os.WriteFile(file, []byte(strings.Repeat("s3cret", 8)), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
