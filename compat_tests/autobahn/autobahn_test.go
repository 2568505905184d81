// Package autobahn sets Autobahn's fuzzing client, the conformance test of
// RFC 6455 and RFC 7692, upon the echo server beside it. See the README.
package autobahn

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wantedEnv asks for these tests: "1" for what CI runs, "all" for all cases.
const wantedEnv = "MYCELIUM_AUTOBAHN"

// plan is one run of the fuzzing client, against a server of its own.
type plan struct {
	name     string
	portable bool     // the server's connections; otherwise epoll's, where there is epoll
	cases    []string // as in the client's specification: names and patterns
}

var framing = []string{"1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"}

// plans are those of a value of wantedEnv. Both kinds of connection get what
// concerns framing, text, closing and sizes; what is compressed is the same bytes
// on either, so one is enough.
func plans(wanted string) []plan {
	payloads, parameters := []string{"12.*"}, []string{"13.*"}
	if wanted != "all" {
		payloads, parameters = payloadSample, parameterSample
	}
	return []plan{ // the longest first
		{name: "parameters", cases: parameters},
		{name: "payloads", cases: payloads},
		{name: "framing", cases: framing},
		{name: "portable", cases: framing, portable: true},
	}
}

// What CI runs of the 216 cases of compression, each a thousand messages: with
// every payload and every negotiation messages of 1 KiB and of 8 KiB, and of 8 KiB
// in fragments of 256 bytes. The others repeat them with sizes up to 128 KiB,
// which takes most of the time.
var (
	payloadSample   = sample(12, 5)
	parameterSample = sample(13, 7)
)

func sample(section, groups int) (cases []string) {
	for group := range groups {
		for _, number := range []int{4, 6, 11} {
			cases = append(cases, fmt.Sprintf("%d.%d.%d", section, group+1, number))
		}
	}
	return cases
}

// TestAutobahn has a subtest for each plan; what is wrong with a case is an
// error that names it.
func TestAutobahn(t *testing.T) {
	wanted := os.Getenv(wantedEnv)
	if wanted == "" {
		t.Skip("takes minutes and needs Python 2.7 with its registry: make autobahn")
	}
	python := findPython(t)
	suite := installSuite(t, python)
	server := buildEcho(t)
	var mu sync.Mutex
	var outcomes []outcome
	began := time.Now()
	t.Run("run", func(t *testing.T) {
		for _, p := range plans(wanted) {
			t.Run(p.name, func(t *testing.T) {
				t.Parallel() // the client is one thread of Python
				results := suite.fuzz(t, p, startEcho(t, server, p.portable))
				t.Logf("%d cases; %v since the start", len(results), time.Since(began).Round(time.Second))
				for _, wrong := range judge(results, p.cases) {
					t.Error(wrong)
				}
				mu.Lock()
				defer mu.Unlock()
				outcomes = append(outcomes, outcome{p, results})
			})
		}
	})
	if *writeResults && !t.Failed() {
		if wanted != "all" {
			t.Fatalf("-write-results is for a run of all cases: %s=all", wantedEnv)
		}
		writeMarkdown(t, suite, outcomes, time.Since(began))
	}
}

// TestResults: the summary is of the suite that is pinned, and of all its
// cases.
func TestResults(t *testing.T) {
	text, err := os.ReadFile(resultsFile)
	if err != nil {
		t.Fatal(err)
	}
	pins, err := os.ReadFile(requirements)
	if err != nil {
		t.Fatal(err)
	}
	if version := pinned(pins, "autobahntestsuite"); version == "" || !strings.Contains(string(text), "autobahntestsuite "+version+" ") {
		t.Errorf("%s is not of autobahntestsuite %q", resultsFile, version)
	}
	for _, s := range sections {
		if !strings.Contains(string(text), s.row()) {
			t.Errorf("%s has no row that begins with %q", resultsFile, s.row())
		}
	}
}
