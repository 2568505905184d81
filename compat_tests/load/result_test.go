//go:build linux

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/bench"
)

// TestReadTsung reads logs of a run of Tsung 1.7.0 with two users, one of whom failed.
func TestReadTsung(t *testing.T) {
	r := &result{Errors: map[string]int64{}}
	if err := readTsung(filepath.Join("testdata", "tsung"), time.Unix(1795951240, 0), r); err != nil {
		t.Fatal(err)
	}
	if r.Arrived != 2 || r.Finished != 2 || r.Answered != 3 || r.ToolRead != 1234 {
		t.Errorf("read %+v", r)
	}
	if want := map[string]int64{"error_unknown": 1, "websocket_fail": 1, "503": 2}; !reflect.DeepEqual(r.Errors, want) {
		t.Errorf("errors %v, want %v", r.Errors, want)
	}
	if want := (latency{"reply", 3, 1.5, 20.25, 20.25, 20.25}); r.latencyOf("reply") == nil || *r.latencyOf("reply") != want {
		t.Errorf("replies took %+v, want %+v", r.latencyOf("reply"), want)
	}
	if last := r.series[len(r.series)-1]; last.at != 5 || last.values["push, mean"] != 2.5 {
		t.Errorf("the last moment is %+v, want 2.5 ms at 5 s", last)
	}
}

// TestTsungInterrupted: a log without its end is not the log of a whole run.
func TestTsungInterrupted(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "tsung", "tsung.log"))
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "tsung.log")
	half, _, _ := strings.Cut(string(text), "EndMonitor")
	if err := os.WriteFile(name, []byte(half), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := parseStats(name); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("got %v", err)
	}
}

// TestReadArtillery reads a report in the form of Artillery 2.0.21.
func TestReadArtillery(t *testing.T) {
	r := &result{Errors: map[string]int64{}}
	if err := readArtillery(filepath.Join("testdata", "artillery.json"), time.UnixMilli(1795951240000), r); err != nil {
		t.Fatal(err)
	}
	if r.Arrived != 20 || r.Finished != 19 || r.Answered != 38 || r.ToolRead != 780 || r.Delivered != 722 {
		t.Errorf("read %+v", r)
	}
	if want := map[string]int64{"errors.closed unexpectedly": 1, "vusers.failed": 1, "http.codes.429": 1}; !reflect.DeepEqual(r.Errors, want) {
		t.Errorf("errors %v, want %v", r.Errors, want)
	}
	if l := r.latencyOf("delivery"); l == nil || l.P99 != 9.5 {
		t.Errorf("deliveries took %+v, want a p99 of 9.5", l)
	}
	if first := r.series[0]; first.at != 15 || first.values["delivery p99"] != 9.5 {
		t.Errorf("the first moment is %+v, want 9.5 ms at 15 s", first)
	}
}

// TestJudge: what fails or is lost is a problem.
func TestJudge(t *testing.T) {
	c, p := scenarios[0], plan{Users: 40, Rooms: 2, Speakers: 40, Messages: 3}
	const delivered = 40 * 3 * 19
	good := func() *result {
		return &result{Tool: "artillery", Scenario: "rooms", Arrived: 40, Finished: 40, Answered: 120, Delivered: delivered, Sent: delivered + 160, ToolRead: delivered + 160}
	}
	if r := good(); true {
		if r.judge(c, p); len(r.Problems) > 0 {
			t.Errorf("a good run has the problems %q", r.Problems)
		}
	}
	for what, spoil := range map[string]func(*result){
		"an error":                        func(r *result) { r.Errors = map[string]int64{"errors.timeout": 1} },
		"a user who did not come":         func(r *result) { r.Arrived-- },
		"a user who did not go":           func(r *result) { r.Finished-- },
		"an answer":                       func(r *result) { r.Answered-- },
		"a delivery":                      func(r *result) { r.Delivered-- },
		"a delivery that was not sent":    func(r *result) { r.Sent, r.ToolRead = r.Sent-1, r.ToolRead-1 },
		"messages that did not arrive":    func(r *result) { r.ToolRead -= 41 },
		"a message that arrived twice":    func(r *result) { r.ToolRead++ },
		"a counter of the server":         func(r *result) { r.takeServer(counters{"mycelium_mailbox_full_total": 1}) },
		"a socket that is still there":    func(r *result) { r.takeServer(counters{"mycelium_sockets": 1}) },
		"bytes that did not arrive":       func(r *result) { r.Tool, r.SentBytes, r.ToolRead = "tsung", 9000, 9000-161 },
		"more bytes than the server sent": func(r *result) { r.Tool, r.SentBytes, r.ToolRead = "tsung", 9000, 9001 },
	} {
		r := good()
		spoil(r)
		if r.judge(c, p); len(r.Problems) == 0 {
			t.Errorf("%s is not a problem", what)
		}
	}
}

// TestPlans checks that the files have exactly the variables that they are given, and that
// the arguments for mycelium bench are right and describe the same load.
func TestPlans(t *testing.T) {
	for _, users := range []int{20, 500, 4000} {
		for _, c := range scenarios {
			p := c.plan(settings{users: users, seconds: 20})
			if p.Users%p.Rooms != 0 || p.Rate < 1 || p.Beats*p.Beat > max(1, p.Messages*p.Pause) {
				t.Errorf("%s with %d users: %+v", c.name, users, p)
			}
			text, err := os.ReadFile(filepath.Join("tsung", c.name+".xml"))
			if err != nil {
				t.Fatal(err)
			}
			file, err := withEntities(text, entities(&server{addr: "127.0.0.1:4321", key: "mk_1"}, p))
			if err != nil {
				t.Errorf("%s.xml: %v", c.name, err)
			}
			checkEntities(t, c.name, string(file))
			if _, err := json.Marshal(overridesOf(p, "mk_1")); err != nil {
				t.Error(err)
			}
			if c.bench == nil {
				continue
			}
			o, err := bench.Parse(c.bench(p, "ws://127.0.0.1:1/socket"))
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			speakers := o.Topics * o.Publishers
			if o.Mode != bench.Broadcast {
				speakers = 0
			}
			if o.Connections+speakers != p.Users {
				t.Errorf("%s: mycelium bench has %d and %d connections, want %d users", c.name, o.Connections, speakers, p.Users)
			}
		}
	}
	if _, err := withEntities([]byte(`<!ENTITY colour "red">`), map[string]string{"port": "1"}); err == nil {
		t.Error("an unknown entity is no error")
	}
}

// checkEntities checks that each entity that is used is declared, and the other way round.
func checkEntities(t *testing.T, name, text string) {
	t.Helper()
	declared := map[string]bool{}
	for _, m := range entity.FindAllStringSubmatch(text, -1) {
		declared[m[1]] = false
	}
	for _, m := range regexp.MustCompile(`&(\w+);`).FindAllStringSubmatch(text, -1) {
		if _, found := declared[m[1]]; !found && m[1] != "amp" && m[1] != "quot" {
			t.Errorf("%s.xml uses the entity %s, which it does not declare", name, m[1])
		}
		declared[m[1]] = true
	}
	for e, used := range declared {
		if !used {
			t.Errorf("%s.xml declares the entity %s, which it does not use", name, e)
		}
	}
}

// TestVariables checks that Artillery's files have the variables that replace theirs, so
// that a reader finds all of them.
func TestVariables(t *testing.T) {
	used := map[string][]string{
		"rooms": {"rooms", "gather", "pause", "messages"}, "big": {"speakers", "gather", "pause", "messages"}, "presence": {"users", "gather", "pause"},
		"instances": {"key", "rooms", "gather", "pause", "messages"}, "polls": {"rooms", "gather", "pause", "messages"}, "day": {"rooms", "wave", "night", "pause", "messages"},
	}
	for _, c := range scenarios {
		text, err := os.ReadFile(filepath.Join("artillery", c.name+".yml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range used[c.name] {
			if !regexp.MustCompile(`(?m)^    ` + name + `: `).Match(text) {
				t.Errorf("%s.yml does not have the variable %s", c.name, name)
			}
		}
	}
}

func TestParseStat(t *testing.T) {
	p, ok := parseStat(7, []byte("7 (a) b) S 1 41 42 0 -1 0 0 0 0 0 150 50 0 0 20 0 3 0 100 1000000 25 0 0"))
	if want := (process{7, 42, 2, 25 * float64(os.Getpagesize())}); !ok || p != want {
		t.Errorf("got %+v, want %+v", p, want)
	}
	if _, ok := parseStat(7, []byte("7 (a S 1")); ok {
		t.Error("half a line is taken")
	}
	own := usageOf(func(p process) bool { return p.pid == os.Getpid() })
	if own.rss == 0 {
		t.Error("this process has no memory")
	}
}
