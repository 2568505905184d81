// Package callback helps to call functions of an application, which may panic or end their goroutine (runtime.Goexit,
// as t.FailNow does in a test).
//
// The rule of this module: such a function ends what it belongs to and nothing else. The function that makes the call
// defers [Recover], and its caller decides what the error ends. Work that must follow the call in any case is deferred
// too, because Goexit runs only deferred functions; [Each] does that for a list.
package callback

import (
	"fmt"
	"runtime/debug"
)

// PanicError is a panic in a function of the application.
type PanicError struct {
	Callback string // the function's name in the documentation
	Value    any
	Stack    []byte
}

// Error names the callback and the value. The value's own methods may panic too, which fmt catches.
func (e *PanicError) Error() string { return fmt.Sprint(e.Callback, " panicked: ", e.Value) }

// Recover turns a panic into an error. Defer it in the function that makes the call:
//
//	defer callback.Recover("CheckOrigin", &err)
func Recover(name string, err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Callback: name, Value: v, Stack: debug.Stack()}
	}
}

// Each calls f for every element of list, in order. If a call ends the goroutine, the others are made first.
func Each[T any](list []T, f func(T)) {
	next := 0
	defer func() {
		if next < len(list) {
			Each(list[next:], f)
		}
	}()
	for next < len(list) {
		next++
		f(list[next-1])
	}
}
