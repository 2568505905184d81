package conformance

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

const transcripts = "../../transcripts"

// passPatience is for plays that must pass. Only on a very busy machine do they need it.
const passPatience = 90 * time.Second

// testPatience is enough for a scripted server on a busy machine.
const testPatience = 8 * time.Second

// mutantPatience is for plays that lack an answer, which wait for all of it.
const mutantPatience = 400 * time.Millisecond

// atOnce bounds how many scripted servers run at the same time. They share nothing and
// mostly sleep.
const atOnce = 24

func load(t *testing.T) []Scenario {
	t.Helper()
	scenarios, err := Load(transcripts)
	if err != nil {
		t.Fatal(err)
	}
	return scenarios
}

// againstScript plays a recording against a server that gives the answers.
func againstScript(t *testing.T, one trial) error {
	s := newScripted(t, one.answers)
	defer s.close()
	patience := testPatience
	switch one.wantErr {
	case "":
		patience = passPatience
	case "*":
		patience = mutantPatience
	}
	return playRecording(context.Background(), s.addr(), one.scenario, one.play, Options{Patience: patience})
}

// trial is a recording and the answers that it is played against.
type trial struct {
	scenario string
	play     Recording
	answers  []Step
	label    string
	wantErr  string // "" if it must pass
}

func runTrials(t *testing.T, trials []trial) {
	t.Helper()
	var group sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for _, one := range trials {
		group.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; group.Done() }()
			err := againstScript(t, one)
			for range 3 {
				if one.wantErr == "" || err != nil {
					break
				}
				// What is sent too often may come after settleTime on a busy machine.
				err = againstScript(t, one)
			}
			switch {
			case one.wantErr == "" && err != nil:
				t.Errorf("%s: %v", one.label, err)
			case one.wantErr != "" && err == nil:
				t.Errorf("%s: passed, want an error", one.label)
			case one.wantErr != "" && one.wantErr != "*" && !strings.Contains(err.Error(), one.wantErr):
				t.Errorf("%s: error %v, want one with %q", one.label, err, one.wantErr)
			}
		}()
	}
	group.Wait()
}

// slow reports whether a recording waits for many seconds.
func slow(steps []Step) bool {
	total := 0
	for _, s := range steps {
		for _, ms := range []*int{s.Wait, s.Listen, s.SilenceMs, s.MsAbout} {
			if ms != nil {
				total += *ms
			}
		}
	}
	return total > 3000
}

// huge reports whether a recording sends megabytes, which is slow under the race
// detector.
func huge(steps []Step) bool {
	text, err := json.Marshal(steps)
	return err != nil || repeatsMuch.Match(text)
}

var repeatsMuch = regexp.MustCompile(`\$\{repeat:.:[0-9]{6,}\}`)

// TestRecordedAnswersPass takes 10 s, as the longest recording did.
func TestRecordedAnswersPass(t *testing.T) {
	t.Parallel()
	scenarios := load(t)
	if len(scenarios) < 229 {
		t.Fatalf("%d scenarios, want all of the recordings", len(scenarios))
	}
	var trials []trial
	for _, s := range scenarios {
		if len(s.Recordings) != 2 {
			t.Errorf("%s has %d recordings, want bandit and cowboy", s.Name, len(s.Recordings))
		}
		for _, r := range s.Recordings {
			if testing.Short() && slow(r.Steps) {
				continue
			}
			trials = append(trials, trial{scenario: s.Name, play: r, answers: r.Steps, label: s.Name + " " + r.Server})
		}
	}
	runTrials(t, trials)
}

func TestBetterAnswersPass(t *testing.T) {
	scenarios, err := Better()
	if err != nil {
		t.Fatal(err)
	}
	var trials []trial
	for _, s := range scenarios {
		for _, r := range s.Recordings {
			trials = append(trials, trial{scenario: s.Name, play: r, answers: r.Steps, label: s.Name + " " + r.Server})
		}
	}
	runTrials(t, trials)
}
