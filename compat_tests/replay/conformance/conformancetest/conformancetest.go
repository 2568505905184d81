// Package conformancetest runs the recordings as Go tests, each as a subtest.
package conformancetest

import (
	"testing"

	"github.com/mycelium-rt/mycelium/compat_tests/replay/conformance"
)

// Run plays every scenario of dir. Each of addrs ("host:port") is a server with the
// compatibility application. An address plays one scenario at a time, because scenarios
// share topics, so more addresses are faster.
func Run(t *testing.T, dir string, addrs ...string) {
	t.Helper()
	scenarios, err := conformance.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	run(t, scenarios, addrs)
}

// RunBetter requires the answers that are better than Phoenix's (DEFECTS.md).
func RunBetter(t *testing.T, addrs ...string) {
	t.Helper()
	scenarios, err := conformance.Better()
	if err != nil {
		t.Fatal(err)
	}
	run(t, scenarios, addrs)
}

// run returns when all subtests are done, so that the caller can stop its servers.
func run(t *testing.T, scenarios []conformance.Scenario, addrs []string) {
	t.Helper()
	if len(addrs) == 0 {
		t.Fatal("no server to play against")
	}
	free := make(chan string, len(addrs))
	for _, addr := range addrs {
		free <- addr
	}
	t.Run("scenarios", func(t *testing.T) {
		for _, s := range scenarios {
			t.Run(s.Name, func(t *testing.T) {
				t.Parallel()
				addr := <-free
				defer func() { free <- addr }()
				way, err := conformance.Judge(t.Context(), addr, s, conformance.Options{})
				if err != nil {
					t.Fatalf("%s\n%v", s.About, err)
				}
				t.Logf("as %s", way)
			})
		}
	})
}
