package conformance

import (
	"context"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryDefectHasAJudgement checks that each scenario named in DEFECTS.md is in the
// table of its kind.
func TestEveryDefectHasAJudgement(t *testing.T) {
	text, err := os.ReadFile(transcripts + "/DEFECTS.md")
	if err != nil {
		t.Fatal(err)
	}
	tables, list, ok := strings.Cut(string(text), "\n## Peculiar")
	if !ok {
		t.Fatal("DEFECTS.md has no section Peculiar")
	}
	list, _, _ = strings.Cut(list, "\nNot listed")
	names := regexp.MustCompile(`\b(?:ws|lp|handshake|payload|presence|join|binary)_[a-z0-9_]+`)
	var inTables []string
	for _, row := range regexp.MustCompile(`(?m)^\| ([a-z0-9_]+) \|`).FindAllStringSubmatch(tables, -1) {
		if row[1] != "scenario" {
			inTables = append(inTables, row[1])
		}
	}
	var inList []string
	for _, line := range regexp.MustCompile(`(?m)^- ([^:]+):`).FindAllStringSubmatch(list, -1) {
		inList = append(inList, names.FindAllString(line[1], -1)...)
	}
	if len(inTables) < 25 || len(inList) < 20 {
		t.Fatalf("found %d and %d scenarios, want all", len(inTables), len(inList))
	}
	sameNames(t, "defects", inTables, defects)
	sameNames(t, "peculiar", inList, peculiar)
}

func sameNames(t *testing.T, name string, want []string, table []betterAnswer) {
	t.Helper()
	var have []string
	for _, d := range table {
		have = append(have, d.scenarios...)
	}
	for _, s := range want {
		if !slices.Contains(have, s) {
			t.Errorf("%s: %s of DEFECTS.md is missing", name, s)
		}
	}
	for _, s := range have {
		if !slices.Contains(want, s) {
			t.Errorf("%s: %s is not in DEFECTS.md", name, s)
		}
	}
}

// TestScripts checks that each row has one requirement, and that each file is used once,
// for a scenario of its row.
func TestScripts(t *testing.T) {
	used := map[string]bool{}
	for _, d := range slices.Concat(defects, peculiar) {
		ways := 0
		for _, is := range []bool{len(d.scripts) > 0, d.rewrite != nil, d.recorded != ""} {
			if is {
				ways++
			}
		}
		if ways != 1 || d.reason == "" || d.name == "" {
			t.Errorf("%q has %d kinds of judgement, reason %q", d.name, ways, d.reason)
		}
		for _, script := range d.scripts {
			f, err := loadScript(script)
			if err != nil {
				t.Error(err)
				continue
			}
			if used[script] || !slices.Contains(d.scenarios, f.Name) || f.About == "" || f.Transport == "" {
				t.Errorf("%s does not belong to %q", script, d.name)
			}
			used[script] = true
		}
	}
	files, err := betterFiles.ReadDir("better")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !used[strings.TrimSuffix(f.Name(), ".json")] {
			t.Errorf("%s is not used", f.Name())
		}
	}
}

// TestBetterIsNotRecorded checks that the recorded defects do not pass as better answers.
func TestBetterIsNotRecorded(t *testing.T) {
	recorded := map[string]Scenario{}
	for _, s := range load(t) {
		recorded[s.Name] = s
	}
	better, err := Better()
	if err != nil {
		t.Fatal(err)
	}
	var trials []trial
	for _, s := range better {
		for _, r := range recorded[s.Name].Recordings {
			for _, way := range s.Recordings {
				trials = append(trials, trial{scenario: s.Name, play: way, answers: r.Steps, label: way.Server + " as " + r.Server, wantErr: "*"})
			}
		}
	}
	if len(trials) == 0 {
		t.Fatal("no recording of a defect")
	}
	runTrials(t, trials)
}

// scenarioNamed loads one scenario.
func scenarioNamed(t *testing.T, name string) Scenario {
	t.Helper()
	for _, s := range load(t) {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no scenario %s", name)
	return Scenario{}
}

// editSteps returns a copy of steps after calling edit for each observation.
func editSteps(steps []Step, edit func(*Step)) []Step {
	steps = slices.Clone(steps)
	for i := range steps {
		edit(&steps[i])
	}
	return steps
}

func status(from, to int) func(*Step) {
	return func(s *Step) {
		for _, a := range []**Answer{&s.Opened, &s.HTTPResponse} {
			if *a != nil && (*a).Status.Has(from) {
				*a = &Answer{Status: Numbers{to}, Headers: (*a).Headers}
			}
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	idle := func(code int) func(*Step) {
		return func(s *Step) {
			if s.Closed != nil {
				s.Closed = &Closed{Code: Numbers{code}}
			}
		}
	}
	nothing := func(*Step) {}
	tests := []struct {
		scenario string
		server   int // index of the recording that is answered
		edit     func(*Step)
		want     string // the way it passes, "" for none
	}{
		{"ws_client_close_3000", 0, nothing, "bandit"},
		{"ws_client_close_3000", 1, nothing, "cowboy"},
		{"ws_client_close_3000", 1, idle(1002), ""},
		{"ws_client_close_1012", 0, idle(1012), "better: ws_client_close_1012.registered"},
		{"ws_client_close_1012", 0, idle(1001), ""},
		{"ws_idle_timeout", 0, idle(1001), "as good: another idle close code"},
		{"ws_idle_timeout", 0, idle(1011), ""},
		{"handshake_no_version", 0, status(400, 426), "as good: upgrade required"},
		{"handshake_no_version", 0, status(400, 405), ""},
		{"handshake_head", 0, status(400, 405), "as good: method not allowed"},
		{"handshake_http_1_0", 0, status(400, 505), "as good: version not supported"},
		{"handshake_double_slash", 0, status(101, 404), "as good: another path"},
		{"handshake_double_slash", 0, status(101, 403), ""},
	}
	for _, tt := range tests {
		t.Run(tt.scenario+" "+tt.want, func(t *testing.T) {
			t.Parallel()
			s := scenarioNamed(t, tt.scenario)
			server := newScripted(t, editSteps(s.Recordings[tt.server].Steps, tt.edit))
			defer server.close()
			way, err := Judge(context.Background(), server.addr(), s, Options{Patience: testPatience})
			if way != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("passed as %q, %v; want %q", way, err, tt.want)
			}
		})
	}
}

// TestFailureNamesPlace checks that an error names the scenario, the recording and the
// step, what was expected and what was received.
func TestFailureNamesPlace(t *testing.T) {
	s := scenarioNamed(t, "event_echo")
	s.Recordings = s.Recordings[:1]
	answers := editSteps(s.Recordings[0].Steps, func(step *Step) {
		if step.Recv != nil {
			text := strings.Replace(*step.Recv, `"you_sent":{}`, `"you_sent":{"a":7}`, 1)
			step.Recv = &text
		}
	})
	server := newScripted(t, answers)
	defer server.close()
	err := Run(context.Background(), server.addr(), s)
	var failure *Failure
	if !errors.As(err, &failure) || failure.Scenario != "event_echo" || failure.Server != "bandit" || failure.Step != 3 {
		t.Fatalf("failure %+v of %v", failure, err)
	}
	for _, part := range []string{"event_echo (bandit)", "step 4", `"you_sent\":{}`, `{"a":7} is not {}`} {
		if !strings.Contains(strings.ReplaceAll(err.Error(), `"you_sent":{}`, `"you_sent\":{}`), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
}

func TestFreeTopicsAndTokens(t *testing.T) {
	two := ws(act, replied, otherEv)
	loose, ok := freeTopics(recording(t, two...))
	if !ok {
		t.Fatal("not changed")
	}
	runTrials(t, []trial{{scenario: "made_up", label: "topics", play: loose, answers: recording(t, ws(act, otherEv, replied)...).Steps}})

	tokens := recording(t,
		`{"client":1,"open":{"path":"/s","query":"","headers":{"Sec-WebSocket-Protocol":"phoenix, base64url.bearer.phx.bXkgc2VjcmV0, base64url.bearer.phx.eHg"}}}`,
		openedWS, act, `{"client":1,"recv":"[{\"auth_token\":null}]"}`)
	first, ok := takeFirstToken(tokens)
	if !ok || *first.Steps[3].Recv != `[{"auth_token":"my secret"}]` {
		t.Errorf("first token: %v %q", ok, *first.Steps[3].Recv)
	}
	if *tokens.Steps[3].Recv != `[{"auth_token":null}]` {
		t.Error("the recording was changed")
	}
	if refused, ok := refuseTokens(tokens); !ok || len(refused.Steps) != 2 || !refused.Steps[1].Opened.Status.Has(403) {
		t.Errorf("refused: %v %d steps", ok, len(refused.Steps))
	}
}

func TestParseRefusesWhatItDoesNotKnow(t *testing.T) {
	for name, steps := range map[string]string{
		"unknown key":  `{"client":1,"send":"x"},{"client":1,"smelt":"x"}`,
		"neither":      `{"client":1,"send":"x"},{"client":1}`,
		"both":         `{"client":1,"send":"x","recv":"x"}`,
		"no action":    `{"client":1,"recv":"x"}`,
		"nothing":      ``,
		"wrong header": `{"client":1,"open":{"path":"/","query":"","headers":{"A":1}}}`,
	} {
		if _, err := parseScenario([]byte(`{"name":"x","steps":[` + steps + `]}`)); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
}
