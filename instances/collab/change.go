package collab

import (
	"encoding/json"
	"fmt"
)

// change is an operation that makes sense, on a document of one revision. It is
// never modified.
type change interface {
	// after is the same change on the document that earlier has made; of two
	// that collide, earlier came first.
	after(earlier change) change
	// parts is what it costs to have it come after another.
	parts() int
	// MarshalJSON is the operation as clients send and get it.
	MarshalJSON() ([]byte, error)
}

// document is what is shared, at one revision. It is never modified.
type document interface {
	// parse reads an operation; the error names what is wrong with it.
	parse(op json.RawMessage) (change, error)
	// apply returns the next revision.
	apply(c change) (document, error)
	// bound is at least as many bytes as MarshalJSON returns.
	bound() int
	// MarshalJSON is the document as clients get it.
	MarshalJSON() ([]byte, error)
	// load is the document of what MarshalJSON has written.
	load(data []byte) (document, error)
}

// refusal is an error for who has sent an operation.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }
