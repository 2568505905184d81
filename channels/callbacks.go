package channels

import (
	"errors"

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
