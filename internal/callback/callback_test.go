package callback

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

type rude struct{}

func (rude) Error() string { panic("in Error") }

func call(f func()) (err error) {
	defer Recover("f", &err)
	f()
	return nil
}

func TestRecover(t *testing.T) {
	if err := call(func() {}); err != nil {
		t.Error(err)
	}
	for name, f := range map[string]func(){
		"a text":               func() { panic("boom") },
		"nil":                  func() { panic(nil) }, //nolint:govet // that is the case
		"an index":             func() { _ = []int{}[len(os.Args):][0] },
		"an error that panics": func() { panic(rude{}) },
	} {
		err := call(f)
		var p *PanicError
		if !errors.As(err, &p) || p.Callback != "f" || !strings.Contains(string(p.Stack), "callback_test.go") {
			t.Errorf("%s: %#v", name, err)
		}
		if !strings.HasPrefix(err.Error(), "f panicked: ") {
			t.Errorf("%s: %q", name, err)
		}
	}
}

func TestEachGoesOnBehindGoexit(t *testing.T) {
	var seen []int
	done := make(chan struct{})
	go func() {
		defer close(done)
		Each([]int{1, 2, 3, 4}, func(n int) {
			seen = append(seen, n)
			if n%2 == 0 {
				runtime.Goexit()
			}
		})
		t.Error("Goexit did not end the goroutine")
	}()
	<-done
	if !slices.Equal(seen, []int{1, 2, 3, 4}) {
		t.Errorf("called for %v", seen)
	}
}
