package leaktest

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
)

// watched is a test that Quiet watches.
type watched struct {
	testing.TB
	name    string
	cleanup []func()
	said    []string
}

func (w *watched) Helper()          {}
func (w *watched) Name() string     { return w.name }
func (w *watched) Cleanup(f func()) { w.cleanup = append(w.cleanup, f) }
func (w *watched) Errorf(format string, args ...any) {
	w.said = append(w.said, fmt.Sprintf(format, args...))
}

func (w *watched) end() {
	for _, f := range slices.Backward(w.cleanup) {
		f()
	}
}

func TestQuiet(t *testing.T) { synctest.Test(t, testQuiet) } // a failing check waits

func testQuiet(t *testing.T) {
	var live int64
	q := Quiet{Counts: []Count{{"frames", func() int64 { return live }}}}
	start := func(name string) *watched {
		w := &watched{TB: t, name: name}
		q.Watch(w)
		w.Cleanup(func() { live-- })
		live++
		return w
	}
	one, two, three := start("one"), start("two"), start("three")
	two.end()
	live++ // as if two had left it
	one.end()
	if said := slices.Concat(one.said, two.said); len(said) != 0 {
		t.Errorf("while another test runs: %q", said)
	}
	three.end()
	if want := "frames left: 1, by one of the tests two, one, three"; len(three.said) != 1 || three.said[0] != want {
		t.Errorf("at the end: %q, want %q", three.said, want)
	}
	live = 0
	if alone := start("alone"); true {
		if alone.end(); len(alone.said) != 0 {
			t.Errorf("a test that leaves nothing: %q", alone.said)
		}
	}
}
