package attack

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"go.uber.org/goleak"
)

var (
	length  = flag.Duration("for", 0, "how long each attack lasts; 0 runs none")
	program string // the path of mycelium
)

// TestMain builds the server, leaves it a processor, and fails if goroutines are left.
func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if *length <= 0 {
		return m.Run() // each test skips itself
	}
	dir, err := os.MkdirTemp("", "mycelium-attack-")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "mycelium")
	if out, err := exec.Command("go", "build", "-o", program, "../../cmd/mycelium").CombinedOutput(); err != nil {
		fmt.Printf("building the server: %v\n%s", err, out)
		return 1
	}
	runtime.GOMAXPROCS(1)
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Println("goroutines left:", err)
		return 1
	}
	return code
}
