package compat_tests

import (
	"flag"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/compat_tests/child"
	"github.com/mycelium-rt/mycelium/compat_tests/replay/conformance"
)

var whole = flag.Bool("whole", false, "beside load and through proxies, play all recordings, not every eighth")

// TestTranscripts replays what clients did to a real Phoenix. The application must
// answer as one of the two recordings does, or with one of the better answers in
// transcripts/DEFECTS.md.
func TestTranscripts(t *testing.T) {
	scenarios, err := conformance.Load("transcripts")
	if err != nil {
		t.Fatal(err)
	}
	for kind, args := range loopKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			skipMissing(t, kind)
			apps := make(chan *child.Process, applications)
			for range applications {
				apps <- startLabapp(t, args...)
			}
			for _, s := range scenarios {
				t.Run(s.Name, func(t *testing.T) {
					t.Parallel()
					app := <-apps
					defer func() { apps <- app }()
					replay(t, app, s)
				})
			}
		})
	}
}

// applications is how many processes of each kind share the scenarios. A process runs
// one scenario at a time, because scenarios share topics; most of their time is waiting.
// The longest takes 10 s, which is how long a poll waits by default.
const applications = 6

func replay(t *testing.T, app *child.Process, s conformance.Scenario) {
	attempts := 1
	if strings.HasPrefix(s.Name, "ws_idle_") {
		attempts = 3 // its client must act within half a second, which a loaded machine may prevent
	}
	for attempt := 1; ; attempt++ {
		var steps []string
		way, err := conformance.Judge(testContext(t), app.Addr, s, conformance.Options{
			Trace: func(line string) { steps = append(steps, line) },
		})
		switch {
		case err == nil:
			t.Logf("as %s", way)
			return
		case attempt == attempts:
			t.Fatalf("%s\n%v\n\n%s", s.About, err, strings.Join(steps, "\n"))
		}
	}
}
