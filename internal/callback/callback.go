// Package callback is for calling functions of an application, which may panic or end their goroutine
// (runtime.Goexit, as t.FailNow does in a test).
//
// The rule of this module: such a function ends what it belongs to and nothing else. Whoever calls one defers [Recover]
// in the function that makes the call and decides what the error ends. What has to happen after the call in any case is
// deferred too, because Goexit runs deferred functions only; [Each] is that for a list.
package callback

import (
	"fmt"
	"runtime/debug"
)

// PanicError is a panic in a function of the application.
type PanicError struct {
	Callback string // which function it was, as the documentation calls it
	Value    any
	Stack    []byte
}

// Error names the callback and the value. The value's own methods may panic too; fmt catches that.
func (e *PanicError) Error() string { return fmt.Sprint(e.Callback, " panicked: ", e.Value) }

// Recover makes an error of a panic. It is to be deferred by the function that makes the call:
//
//	defer callback.Recover("CheckOrigin", &err)
func Recover(name string, err *error) {
	if v := recover(); v != nil {
		*err = &PanicError{Callback: name, Value: v, Stack: debug.Stack()}
	}
}

// Each calls f for every element of list, in order. An f that ends the goroutine ends it after the last call.
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
