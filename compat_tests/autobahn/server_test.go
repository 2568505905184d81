package autobahn

import (
	"testing"

	"github.com/mycelium-rt/mycelium/compat_tests/child"
)

// buildEcho returns the path of the echo server's program.
func buildEcho(t *testing.T) string {
	t.Helper()
	bin, err := child.Build(t.TempDir(), "./echo")
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// startEcho starts the echo server on a free port and returns its address.
func startEcho(t *testing.T, bin string, k kind) string {
	t.Helper()
	return child.Start(t, bin, append([]string{"-addr", "127.0.0.1:0"}, flags[k]...)...).Addr
}
