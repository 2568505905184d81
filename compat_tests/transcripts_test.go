package compat_tests

import (
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/compat_tests/replay/conformance"
)

// notBuilt are recordings of what is not there yet, with the reason.
var notBuilt = map[string]string{
	"handshake_deflate_plain":            "permessage-deflate is not built yet",
	"handshake_deflate_both_no_takeover": "permessage-deflate is not built yet",
}

// TestTranscripts replays what clients did to a real Phoenix: the application
// must do what one of the two recordings says, or one of the better answers
// that transcripts/DEFECTS.md names.
func TestTranscripts(t *testing.T) {
	scenarios, err := conformance.Load("transcripts")
	if err != nil {
		t.Fatal(err)
	}
	eachLoopKind(t, func(t *testing.T, app *labapp) {
		skipped := 0
		for _, s := range scenarios {
			if s.Transport == "longpoll" {
				skipped++
				continue
			}
			t.Run(s.Name, func(t *testing.T) { replay(t, app, s) })
		}
		t.Run("longpoll", func(t *testing.T) {
			t.Skipf("%d recordings not replayed: long polling is not built yet", skipped)
		})
	})
}

func replay(t *testing.T, app *labapp, s conformance.Scenario) {
	if reason := notBuilt[s.Name]; reason != "" {
		t.Skip(reason)
	}
	var steps []string
	way, err := conformance.Judge(testContext(t), app.addr, s, conformance.Options{
		Trace: func(line string) { steps = append(steps, line) },
	})
	if err != nil {
		t.Fatalf("%s\n%v\n\n%s", s.About, err, strings.Join(steps, "\n"))
	}
	t.Logf("as %s", way)
}
