// Package fielderr says which fields of a value are wrong: of an instance's spec,
// of the options of package auth, of the body of an API request. A program that
// creates instances or verifiers finds out with errors.As:
//
//	var wrong fielderr.List
//	if errors.As(err, &wrong) {
//		for _, e := range wrong {
//			fmt.Println(e.Field, e.Reason) // "/config/seats", "is 1: chess is for 2 to 2"
//		}
//	}
package fielderr

import (
	"fmt"
	"strings"
)

// Error is one wrong field. As JSON it is an element of errors in the API's
// problem details.
type Error struct {
	// Field is a JSON pointer (RFC 6901) from the value: "/limits/max_connections".
	// It is empty where the value as a whole is wrong.
	Field string `json:"field"`
	// Reason follows the field in a sentence. It says what is wrong and what would
	// be right: "is -1: it must be from 1 to 100".
	Reason string `json:"reason"`
}

// Error returns the field and the reason as one sentence.
func (e Error) Error() string {
	if e.Field == "" {
		return "the value " + e.Reason
	}
	return e.Field + " " + e.Reason
}

// List is an error: all fields of a value that are wrong. A nil List is no
// error, but not a nil error: see [List.Err].
type List []Error

// New returns a list of one field.
func New(field, format string, args ...any) List {
	return List{{field, fmt.Sprintf(format, args...)}}
}

// Error returns the sentences of all fields.
func (l List) Error() string {
	texts := make([]string, len(l))
	for i, e := range l {
		texts[i] = e.Error()
	}
	return strings.Join(texts, "; ")
}

// Add appends a field.
func (l *List) Add(field, format string, args ...any) {
	*l = append(*l, Error{field, fmt.Sprintf(format, args...)})
}

// AddBelow appends the fields of a value that is itself the field parent.
func (l *List) AddBelow(parent string, below List) {
	for _, e := range below {
		*l = append(*l, Error{parent + e.Field, e.Reason})
	}
}

// Err returns the list as an error, nil if it is empty.
func (l List) Err() error {
	if len(l) == 0 {
		return nil
	}
	return l
}

// Escape returns a name as one part of a JSON pointer.
func Escape(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }
