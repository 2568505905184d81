package collab

import (
	"encoding/json"
	"fmt"
)

// change is a valid operation on a document of one revision. It is immutable.
type change interface {
	// after returns the same change for the document that earlier has made; if
	// the two collide, earlier came first.
	after(earlier change) change
	// parts is the cost of transforming the change over another.
	parts() int
	// MarshalJSON returns the operation in the form of clients.
	MarshalJSON() ([]byte, error)
}

// document is the shared document at one revision. It is immutable.
type document interface {
	// parse decodes an operation; the error says what is wrong with it.
	parse(op json.RawMessage) (change, error)
	// apply returns the next revision.
	apply(c change) (document, error)
	// bound returns an upper bound of the size of MarshalJSON's result.
	bound() int
	// MarshalJSON returns the document in the form for clients.
	MarshalJSON() ([]byte, error)
	// load decodes a document that MarshalJSON has encoded.
	load(data []byte) (document, error)
}

// refusal is an error for the sender of an operation.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }
