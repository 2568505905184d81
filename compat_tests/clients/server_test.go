package clients

import (
	"testing"

	"github.com/mycelium-rt/mycelium/compat_tests/child"
)

// startServer builds and starts the program in a folder on a free port, and returns
// its address.
func startServer(t *testing.T, dir string) string {
	t.Helper()
	bin, err := child.Build(t.TempDir(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return child.Start(t, bin, "-addr", "127.0.0.1:0").Addr
}
