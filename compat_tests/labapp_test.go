package compat_tests

import (
	"context"
	"os"
	"runtime"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/compat_tests/child"
)

// loopKinds has the flags for the two kinds of event loops.
var loopKinds = map[string][]string{"epoll": nil, "portable": {"-portable"}}

// buildLabapp builds the compatibility application once for all tests.
var buildLabapp = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "labapp")
	if err != nil {
		return "", err
	}
	cleanups = append(cleanups, func() { os.RemoveAll(dir) }) // a temporary folder
	return child.Build(dir, "./labapp")
})

// cleanups run after all tests.
var cleanups []func()

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		for _, f := range cleanups {
			f()
		}
		os.Exit(code)
	}))
}

// startLabapp starts the application on a free port.
func startLabapp(t *testing.T, args ...string) *child.Process {
	t.Helper()
	bin, err := buildLabapp()
	if err != nil {
		t.Fatal(err)
	}
	return child.Start(t, bin, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
}

// eachLoopKind runs a test against the application served by each kind of
// loop, side by side.
func eachLoopKind(t *testing.T, test func(t *testing.T, app *child.Process)) {
	for name, args := range loopKinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			skipMissing(t, name)
			test(t, startLabapp(t, args...))
		})
	}
}

// skipMissing skips a kind of loop that the system does not have.
func skipMissing(t *testing.T, kind string) {
	t.Helper()
	if kind == "epoll" && runtime.GOOS != "linux" {
		t.Skip("no epoll on " + runtime.GOOS)
	}
}

// testContext returns a context that ends shortly before the test binary's timeout, so
// that a test that hangs reports it.
func testContext(t *testing.T) context.Context {
	deadline, set := t.Deadline()
	if !set {
		return t.Context()
	}
	ctx, cancel := context.WithDeadline(t.Context(), deadline.Add(-child.EndTimeout))
	t.Cleanup(cancel)
	return ctx
}
