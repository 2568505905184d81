package channels

import (
	"errors"
	"net/http"
	"runtime/debug"

	"github.com/mycelium-rt/mycelium/internal/callback"
)

// A panic in a function of the application ends what the function belongs to
// and nothing else: docs/channels.md has the table. Each call is made by a
// small function that defers callback.Recover; its caller decides what the
// resulting error ends.

// reportPanic logs and counts a panic in a callback, and reports whether err is
// one. The caller handles other errors.
func (e *Endpoint) reportPanic(err error) bool {
	var p *callback.PanicError
	if !errors.As(err, &p) {
		return false
	}
	e.counters.crashes.Add(1)
	e.log.Error("callback panicked").Str("callback", p.Callback).Panic(p.Value, p.Stack).Write()
	return true
}

// abort is deferred by functions that net/http calls. It ends a request whose
// handler panicked: net/http closes the connection, and does not log the panic
// itself.
func (e *Endpoint) abort() {
	v := recover()
	switch {
	case v == nil:
		return
	case v != http.ErrAbortHandler:
		e.reportPanic(&callback.PanicError{Callback: "Options.Handler", Value: v, Stack: debug.Stack()})
	}
	panic(http.ErrAbortHandler)
}
