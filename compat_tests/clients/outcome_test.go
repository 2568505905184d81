package clients

import (
	"slices"
	"strings"
	"testing"
)

// behaviours has what every client is tested for, in the order of the table and with the
// names of the table of npm's clients.
var behaviours = []string{
	"connect",
	"connect refused",
	"join",
	"join refused",
	"push: ok, error, timeout",
	"push from the server",
	"broadcast",
	"broadcast_from",
	"binary",
	"leave",
	"channel stopped by the server",
	"crash and rejoin",
	"duplicate join",
	"forced disconnect",
	"dropped TCP",
	"heartbeat",
	"presence: two users, two tabs",
	"long polling",
}

// outcome is what a program reports about a behaviour.
type outcome struct {
	kind outcomeKind
	note string // a note for readers of the table, or the reason of a failure
}

type outcomeKind string

const (
	passed     outcomeKind = "ok"
	notOffered outcomeKind = "not offered"
	failed     outcomeKind = "FAIL"
)

// parseOutcome parses a line "BEHAVIOUR: ok" or "BEHAVIOUR: not offered", either of which
// may end with " (NOTE)", or "BEHAVIOUR: FAIL REASON".
func parseOutcome(line string) (behaviour string, o outcome, ok bool) {
	for _, behaviour = range slices.Concat(behaviours, realtimeBehaviours) {
		said, found := strings.CutPrefix(line, behaviour+": ")
		if !found {
			continue
		}
		for _, kind := range []outcomeKind{passed, notOffered, failed} {
			note, found := strings.CutPrefix(said, string(kind))
			switch {
			case !found:
			case kind == failed:
				return behaviour, outcome{kind, strings.TrimSpace(note)}, true
			case note == "":
				return behaviour, outcome{kind, ""}, true
			case strings.HasPrefix(note, " (") && strings.HasSuffix(note, ")"):
				return behaviour, outcome{kind, note[2 : len(note)-1]}, true
			}
		}
	}
	return "", outcome{}, false
}

func TestParseOutcome(t *testing.T) {
	for line, want := range map[string]outcome{
		"join: ok":                           {passed, ""},
		"push: ok, error, timeout: ok":       {passed, ""},
		"leave: ok (it is (as it were) one)": {passed, "it is (as it were) one"},
		"binary: not offered":                {notOffered, ""},
		"binary: not offered (JSON: no)":     {notOffered, "JSON: no"},
		"heartbeat: FAIL want 1: got 2":      {failed, "want 1: got 2"},
		"heartbeat: FAIL":                    {failed, ""},
	} {
		behaviour, got, ok := parseOutcome(line)
		if !ok || got != want || !strings.HasPrefix(line, behaviour+": ") {
			t.Errorf("%q: got %q, %+v, %t; want %+v", line, behaviour, got, ok, want)
		}
	}
	for _, line := range []string{"", "join", "join:ok", "join: okay", "join: ok now", "unheard: ok", "push: ok", cutLine} {
		if behaviour, got, ok := parseOutcome(line); ok {
			t.Errorf("%q: got %q, %+v; want none", line, behaviour, got)
		}
	}
}
