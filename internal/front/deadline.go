package front

import (
	"context"
	"sync"
	"time"
)

// lateDeadline is a context with a deadline. It starts its timer when somebody
// waits for it, which hardly any Connect does.
type lateDeadline struct {
	deadline time.Time // static

	// Guarded by mu.
	mu    sync.Mutex
	inner context.Context // nil until it is needed
	stop  context.CancelFunc
	ended bool
}

var _ context.Context = (*lateDeadline)(nil)

// Deadline implements context.Context.
func (t *lateDeadline) Deadline() (time.Time, bool) { return t.deadline, true }

// Done implements context.Context.
func (t *lateDeadline) Done() <-chan struct{} { return t.context().Done() }

// Err implements context.Context.
func (t *lateDeadline) Err() error { return t.context().Err() }

// Value implements context.Context. It delegates to the inner context, so that contexts
// derived from t need no goroutine.
func (t *lateDeadline) Value(key any) any { return t.context().Value(key) }

// end cancels the context.
func (t *lateDeadline) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	if t.stop != nil {
		t.stop()
	}
}

// context returns the context with the timer.
func (t *lateDeadline) context() context.Context {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inner == nil {
		t.inner, t.stop = context.WithDeadline(context.Background(), t.deadline)
		if t.ended {
			t.stop()
		}
	}
	return t.inner
}
