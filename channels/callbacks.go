package channels

import (
	"errors"
	"net/http"
	"runtime/debug"

	"github.com/mycelium-rt/mycelium/internal/callback"
)

// What a function of the application does ends what it belongs to and nothing
// else: docs/channels.md has the table of all of them. Each call is made by a
// small function that defers callback.Recover; what becomes of the panic is
// decided where the error arrives.

// reportPanic logs and counts a panic in a callback, and reports whether err is
// one. Other errors are their caller's.
func (e *Endpoint) reportPanic(err error) bool {
	var p *callback.PanicError
	if !errors.As(err, &p) {
		return false
	}
	e.counters.crashes.Add(1)
	e.log.Error("callback panicked").Str("callback", p.Callback).Panic(p.Value, p.Stack).Write()
	return true
}

// abort is deferred by what net/http calls. It ends a request whose handler
// panicked: net/http closes its connection, and would log the panic where nobody
// looks for it.
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
