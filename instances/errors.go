package instances

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mycelium-rt/mycelium/fielderr"
)

// What a manager's methods fail with, besides [fielderr.List], [*ConflictError],
// [*RevisionError], [*SignalError] and what the store could not do.
var (
	// ErrNotFound: there is no instance of this id.
	ErrNotFound = errors.New("instances: there is no such instance")
	// ErrNotRunning: the instance is not running: it drains, has stopped, failed
	// or is being restarted. Its Info says which.
	ErrNotRunning = errors.New("instances: the instance is not running")
	// ErrDraining: the id is that of an instance that is being removed. It is
	// free again in a moment.
	ErrDraining = errors.New("instances: an instance of this id is being removed")
	// ErrDeclared: the instance is declared by the server's configuration, which
	// alone can change or remove it.
	ErrDeclared = errors.New("instances: the instance is declared by the configuration: change it there")
	// ErrNoSignals: the instance's type takes no signals.
	ErrNoSignals = errors.New("instances: this type takes no signals")
	// ErrRestart is what a [Configurer] answers to be restarted instead.
	ErrRestart = errors.New("instances: this change needs a restart of the instance")
	// ErrClosed: the manager is closed.
	ErrClosed = errors.New("instances: the manager is closed")
	// ErrNoState: nothing was saved under the name.
	ErrNoState = errors.New("instances: nothing was saved under this name")
)

// Invalid returns the error for one field of a type's own configuration, for what
// its schema cannot say: Invalid("/seats", "is %d: …", n).
func Invalid(pointer, format string, args ...any) fielderr.List {
	return fielderr.New("/config"+pointer, format, args...)
}

// ConflictError says that there is an instance of this id with another spec.
type ConflictError struct {
	ID     string
	Fields []string // that differ: "config", "labels"
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("instances: there is an instance %q with another %s", e.ID, strings.Join(e.Fields, ", "))
}

// RevisionError says that the instance has been changed since the revision that
// the caller has seen.
type RevisionError struct{ Want, Have uint64 }

func (e *RevisionError) Error() string {
	return fmt.Sprintf("instances: the instance is at revision %d, not %d: read it again", e.Have, e.Want)
}

// PanicError is the failure of an instance that crashed.
type PanicError struct {
	Hook  string // "Tick"
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("%s panicked: %v", e.Hook, e.Value) }
