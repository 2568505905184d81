package instances

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mycelium-rt/mycelium/fielderr"
)

// Errors of a manager's methods, besides [fielderr.List], [*ConflictError],
// [*RevisionError], [*SignalError] and errors of the store.
var (
	// ErrNotFound: there is no instance with this id.
	ErrNotFound = errors.New("instances: no such instance")
	// ErrNotRunning: the instance drains, has stopped, has failed or is being
	// restarted. Its Info says which.
	ErrNotRunning = errors.New("instances: the instance is not running")
	// ErrDraining: the instance with this id is being removed. The id will be
	// free in a moment.
	ErrDraining = errors.New("instances: an instance of this id is being removed")
	// ErrDeclared: the instance is declared by the server's configuration, and
	// can be changed or removed only there.
	ErrDeclared = errors.New("instances: the instance is declared by the configuration: change it there")
	// ErrNoSignals: the instance's type takes no signals.
	ErrNoSignals = errors.New("instances: this type takes no signals")
	// ErrRestart is returned by a [Configurer] that wants to be restarted
	// instead.
	ErrRestart = errors.New("instances: this change needs a restart of the instance")
	// ErrClosed: the manager is closed.
	ErrClosed = errors.New("instances: the manager is closed")
	// ErrNoHistory: the instance records nothing.
	ErrNoHistory = errors.New("instances: nothing is recorded in this instance: its spec has no history")
	// ErrNoOwner: no node of the cluster runs the instance at the moment. Its Info
	// says why; a node starts it once a majority of the nodes can reach each other.
	ErrNoOwner = errors.New("instances: no node runs the instance at the moment")
	// ErrUnreachable: the store of the cluster did not answer, usually because this
	// node cannot reach a majority of the others. The change may still be made later.
	ErrUnreachable = errors.New("instances: the store of the cluster cannot be reached")
	// ErrNoState: nothing was saved under the name.
	ErrNoState = errors.New("instances: nothing was saved under this name")
)

// Invalid returns an error for one field of a type's configuration, for rules
// that its schema cannot express: Invalid("/seats", "is %d: …", n).
func Invalid(pointer, format string, args ...any) fielderr.List {
	return fielderr.New("/config"+pointer, format, args...)
}

// ConflictError reports that an instance with this id exists with another spec.
type ConflictError struct {
	ID     string
	Fields []string // that differ: "config", "labels"
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("instances: an instance %q exists with a different %s", e.ID, strings.Join(e.Fields, ", "))
}

// RevisionError reports that the instance has changed since the revision that
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
