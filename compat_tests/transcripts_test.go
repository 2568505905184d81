package compat_tests

import (
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/compat_tests/child"
	"github.com/mycelium-rt/mycelium/compat_tests/replay/conformance"
)

// TestTranscripts replays what clients did to a real Phoenix: the application
// must do what one of the two recordings says, or one of the better answers
// that transcripts/DEFECTS.md names.
func TestTranscripts(t *testing.T) {
	scenarios, err := conformance.Load("transcripts")
	if err != nil {
		t.Fatal(err)
	}
	eachLoopKind(t, func(t *testing.T, app *child.Process) {
		for _, s := range scenarios {
			t.Run(s.Name, func(t *testing.T) { replay(t, app, s) })
		}
	})
}

func replay(t *testing.T, app *child.Process, s conformance.Scenario) {
	var steps []string
	way, err := conformance.Judge(testContext(t), app.Addr, s, conformance.Options{
		Trace: func(line string) { steps = append(steps, line) },
	})
	if err != nil {
		t.Fatalf("%s\n%v\n\n%s", s.About, err, strings.Join(steps, "\n"))
	}
	t.Logf("as %s", way)
}
