package netloop

import (
	"errors"
	"runtime/debug"

	"github.com/mycelium-rt/mycelium/internal/callback"
)

// ErrHandlerFailed is the close reason of a connection whose [Handler] panicked or ended the loop's goroutine
// (runtime.Goexit).
var ErrHandlerFailed = errors.New("netloop: handler failed")

// Handlers and tasks run application code and guard it themselves. A panic that escapes them ends the connection or the
// task, but neither the process nor the loop. It is recovered at the event or turn in which it happened. Goexit cannot
// be stopped, so the loop continues on another goroutine.
//
// So a call of a handler or a task may end its callers at any time. Each of them defers what must happen all the same:
// the next turn has to find every lane, connection and deadline where it belongs.

// runTurn is turn as pollers call it.
func (l *Loop) runTurn() {
	defer l.rescue()
	l.inside = true
	l.turn()
	l.inside = false
}

// rescue is deferred by everything that a poller calls. inside is still true if the call did not return normally.
func (l *Loop) rescue() {
	if !l.inside {
		return
	}
	v := recover()
	l.inside = false
	exited := v == nil
	if exited {
		v = "runtime.Goexit"
	}
	l.cutShort = true
	if c := l.current; c != nil {
		l.current = nil
		c.Close(ErrHandlerFailed)
	}
	l.group.options.OnError(&callback.PanicError{Callback: "a handler of the event loop", Value: v, Stack: debug.Stack()})
	if exited {
		l.poller.replace()
	}
	l.poller.wake() // for what the turn has left undone
}
