package history_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/history"
)

// TestSpaceMadeAgain: a client of a space that was removed is told in one of the same name that it missed what came
// before the end.
func TestSpaceMadeAgain(t *testing.T) {
	s, sp := open(t, history.Options{}, history.Rule{})
	again := func() {
		t.Helper()
		s.Forget("")
		sp = space(t, s, history.Rule{})
	}
	record(sp, "a", "m0")
	all := now(sp, "a")
	again()
	wantPage(t, sp.Since("a", all, 0), "", "") // nothing came
	record(sp, "a", "m1")
	some := now(sp, "a")
	record(sp, "a", "m2")
	again()
	record(sp, "a", "m3")
	wantPage(t, sp.Since("a", some, 0), "m3", history.Expired)
	wantPage(t, sp.Since("b", some, 0), "", history.Expired)
	wantPage(t, sp.Page("a", history.Ask{Since: time.UnixMilli(1)}), "m3", history.Expired)
	some = now(sp, "a")
	record(sp, "a", "m4")
	s.Forget("")
	s.Open("") // as for a late entry of another node
	s.Forget("")
	sp = space(t, s, history.Rule{})
	wantPage(t, sp.Since("a", some, 0), "", history.Expired)
	for i := range 2000 {
		name := fmt.Sprint("space ", i)
		if _, err := s.Space(name, []history.Rule{{}}); err != nil {
			t.Fatal(err)
		}
		s.Forget(name)
	}
	other := now(sp, "a")
	again()
	wantPage(t, sp.Since("a", other, 0), "", "")
}
