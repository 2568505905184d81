package channels

import (
	"context"
	"sync"
	"time"
)

// lateTimeout is a context with a deadline whose timer is made when somebody waits for it: hardly any Connect does. Its
// zero value has no deadline.
type lateTimeout struct {
	deadline time.Time // static

	// Guarded by mu.
	mu    sync.Mutex
	inner context.Context // nil until it is needed
	stop  context.CancelFunc
	ended bool
}

var _ context.Context = (*lateTimeout)(nil)

// Deadline is context.Context's.
func (t *lateTimeout) Deadline() (time.Time, bool) { return t.deadline, true }

// Done is context.Context's.
func (t *lateTimeout) Done() <-chan struct{} { return t.made().Done() }

// Err is context.Context's.
func (t *lateTimeout) Err() error { return t.made().Err() }

// Value is context.Context's. There are none, but package context finds what it can hang its own contexts to by it.
func (t *lateTimeout) Value(key any) any { return t.made().Value(key) }

// end cancels the context.
func (t *lateTimeout) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	if t.stop != nil {
		t.stop()
	}
}

func (t *lateTimeout) made() context.Context {
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
