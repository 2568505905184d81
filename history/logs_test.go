package history_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/history"
)

// TestForgottenLog: messages that are kept for longer than the number of their log are not
// sent again and again.
func TestForgottenLog(t *testing.T) {
	c := newClock()
	o := history.Options{Now: c.now}
	rule := history.Rule{Age: 30 * 24 * time.Hour}
	file := filepath.Join(t.TempDir(), "history")
	before, sp := open(t, o, rule)
	record(sp, "room", "m0")
	record(sp, "room", "m1")
	old := now(sp, "room")
	if err := before.Save(file); err != nil {
		t.Fatal(err)
	}
	s, sp := open(t, o, rule)
	if err := s.Load(file); err != nil {
		t.Fatal(err)
	}
	wantPage(t, sp.Since("room", old, 0), "", "")
	c.advance(25 * time.Hour)
	s.Sweep()
	position := now(sp, "room")
	record(sp, "room", "m2")
	wantPage(t, sp.Since("room", position, 0), "m2", "")
	wantPage(t, sp.Since("room", old, 0), "m2", history.Expired)
	wantPage(t, sp.Page("room", history.Ask{}), "m0 m1 m2", "")
}
