//go:build linux

package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestTsung and TestArtillery run chat rooms with a handful of users for a few seconds, so
// that neither the files nor what reads the tools' results falls behind.
func TestTsung(t *testing.T) { smoke(t, "tsung") }

func TestArtillery(t *testing.T) { smoke(t, "artillery") }

func smoke(t *testing.T, name string) {
	bin := os.Getenv("MYCELIUM_BIN")
	if os.Getenv("MYCELIUM_CLIENTS") == "" || bin == "" {
		t.Skip("needs Tsung, and Node with npm's registry: make test-clients")
	}
	t.Parallel()
	if _, err := tools[name].prepare(t.Context()); err != nil {
		if os.Getenv("CI") != "true" {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	p := plan{Users: 20, Rate: 20, Arrival: 1, Gather: 12, Rooms: 2, Speakers: 20, Messages: 2, Pause: 1}
	s := settings{server: bin, raw: t.TempDir()}
	r := s.measure(t.Context(), tools[name], name, scenarios[0], p)
	for _, problem := range r.Problems {
		t.Error(problem)
	}
	if l := r.latencyOf("reply"); l == nil || l.Count != 40 {
		t.Errorf("latencies of replies: %+v, want 40", l)
	}
	if t.Failed() {
		logFiles(t, s.raw)
	}
	for _, s := range r.samples {
		if s.users == 20 && s.at > 0 {
			return
		}
	}
	t.Errorf("20 users were never seen at the server, in %d samples over %v", len(r.samples), time.Since(r.Started))
}

// logFiles logs what the tool and the server have printed.
func logFiles(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := dir + "/" + f.Name()
		switch text, err := os.ReadFile(name); {
		case f.IsDir():
			logFiles(t, name)
		case err == nil && (strings.HasSuffix(name, ".out") || strings.HasSuffix(name, "server.log") || strings.Contains(name, "controller")):
			t.Logf("%s:\n%s", name, text[max(0, len(text)-4000):])
		}
	}
}
