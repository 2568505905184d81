package waittest

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// failing keeps what a test fails with.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, asked := time.Now(), 0
		For(t, "the third time", func() bool { asked++; return asked == 3 })
		if asked != 3 || time.Since(start) > time.Second {
			t.Errorf("asked %d times in %v", asked, time.Since(start))
		}
		f := &failing{TB: t}
		ended := make(chan struct{})
		go func() { defer close(ended); For(f, "never", func() bool { return false }) }()
		<-ended
		if f.said != "waited 1m30s in vain: never" {
			t.Errorf("said %q", f.said)
		}
	})
}
