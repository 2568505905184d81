// Package autobahn runs Autobahn's fuzzing client, the conformance test of RFC 6455 and
// RFC 7692, against the echo server in echo. See the README.
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

// wantedEnv enables these tests: "1" for the cases of CI, "all" for all cases.
const wantedEnv = "MYCELIUM_AUTOBAHN"

// kind is how the server carries its connections.
type kind uint8

const (
	onEpoll kind = iota
	portable
	overTLS // on epoll
)

// flags are those of the echo server, and scheme is that of its address.
var (
	flags   = map[kind][]string{portable: {"-portable"}, overTLS: {"-tls"}}
	schemes = map[kind]string{onEpoll: "ws", portable: "ws", overTLS: "wss"}
)

// plan is a run of the fuzzing client against a server of its own.
type plan struct {
	name   string
	server kind
	cases  []string // as in the client's specification: names and patterns
}

var framing = []string{"1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"}

// plans returns the plans for a value of wantedEnv. All kinds of connections get the cases
// about framing, text, closing and sizes; in CI, those of TLS get a share of them.
// Compression does not depend on the kind, so one is enough.
func plans(wanted string) []plan {
	payloads, parameters, secured := []string{"12.*"}, []string{"13.*"}, framing
	if wanted != "all" {
		payloads, parameters, secured = payloadSample, parameterSample, tlsSample
	}
	return []plan{ // the longest first
		{name: "parameters", cases: parameters},
		{name: "payloads", cases: payloads},
		{name: "framing", cases: framing},
		{name: "portable", cases: framing, server: portable},
		{name: "TLS", cases: secured, server: overTLS},
	}
}

// tlsSample are the cases over TLS that CI runs: those that depend on how bytes come and go.
// The texts of section 6 arrive as others do, and most of section 9 takes time.
var tlsSample = []string{"1.*", "2.*", "5.*", "7.*", "10.*", "9.1.6", "9.2.6", "9.3.1", "9.5.6", "9.7.1", "9.8.6"}

// The cases of compression that CI runs, out of 216 with a thousand messages each: for every
// payload and every negotiation, messages of 1 KiB, of 8 KiB, and of 8 KiB in fragments of
// 256 bytes. The others repeat them with sizes up to 128 KiB, which takes most of the time.
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

// TestAutobahn has a subtest for each plan. Each failed case is an error that names it.
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
				t.Parallel() // the client is a single thread of Python
				results := suite.fuzz(t, p, startEcho(t, server, p.server))
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

// TestResults checks that the summary is for the pinned suite and has all its cases.
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
		t.Errorf("%s is not for autobahntestsuite %q", resultsFile, version)
	}
	for _, s := range sections {
		if !strings.Contains(string(text), s.row()) {
			t.Errorf("%s has no row that begins with %q", resultsFile, s.row())
		}
	}
}
