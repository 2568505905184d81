package instances

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
)

// guard runs application code; a panic becomes a *PanicError.
func (in *Instance) guard(what string, f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			p := &PanicError{Hook: what, Value: v, Stack: debug.Stack()}
			in.line(zerolog.ErrorLevel, "instance crashed").Str("hook", what).Panic(v, p.Stack).Write()
			err = p
		}
	}()
	return f()
}

// errGoexit returns the error for a function that ended its goroutine, as
// t.FailNow does in a test.
func errGoexit(what string) error { return &PanicError{Hook: what, Value: "runtime.Goexit"} }

// awaitGoroutines waits until all goroutines that the logic started have ended.
// Those that still run when ctx is done are leaked: counted, logged and
// abandoned.
func (m *member) awaitGoroutines(ctx context.Context, in *Instance) {
	for in.liveGoroutines() > 0 {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			n := in.liveGoroutines()
			if n == 0 {
				return
			}
			m.leaked(in)
			m.manager.notifyWatchers(m, EventLeaked, "")
			in.line(zerolog.ErrorLevel, "goroutines of an instance do not end").Int("goroutines", int(n)).Write()
			return
		}
	}
}

// liveGoroutines returns the number of goroutines of this life.
func (in *Instance) liveGoroutines() int64 {
	return in.goroutines.Load() + in.endpoint.Stats().Callbacks
}
