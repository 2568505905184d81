package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// A message of Yjs (npm y-protocols) begins with its kind. In a sync message, a step
// follows. The rest is one byte string: a state vector, an update, or an awareness
// update. Numbers are unsigned varints, and byte strings are preceded by their length,
// as npm lib0 encodes them.
const (
	kindSync           = 0
	kindAwareness      = 1
	kindQueryAwareness = 3 // without a body

	stepVector = 0 // "sync step 1": a state vector, which asks for the updates that it lacks
	stepState  = 1 // "sync step 2": the answer, an update
	stepUpdate = 2 // a new update
)

var (
	// emptyVector is the state vector of a document without content.
	emptyVector = []byte{0}
	// emptyUpdate is an update that changes nothing: no clients, no deletions.
	emptyUpdate = []byte{0, 0}
)

var errTruncated = errors.New("the message ends too early")

type message struct {
	kind uint64
	step uint64 // of kindSync
	body []byte // aliases the bytes that were decoded
}

func decodeMessage(data []byte) (m message, err error) {
	r := reader{data}
	if m.kind, err = r.number(); err != nil {
		return message{}, err
	}
	switch m.kind {
	case kindSync:
		if m.step, err = r.number(); err != nil {
			return message{}, err
		}
		if m.step > stepUpdate {
			return message{}, fmt.Errorf("unknown sync step %d", m.step)
		}
	case kindAwareness:
	case kindQueryAwareness:
		return m, nil
	default:
		return message{}, fmt.Errorf("unknown kind of message %d", m.kind)
	}
	m.body, err = r.bytes()
	return m, err
}

func (m message) encode() []byte {
	data := binary.AppendUvarint(nil, m.kind)
	if m.kind == kindSync {
		data = binary.AppendUvarint(data, m.step)
	}
	return appendBytes(data, m.body)
}

func appendBytes(data, b []byte) []byte {
	return append(binary.AppendUvarint(data, uint64(len(b))), b...)
}

// reader decodes the rest of a message.
type reader struct{ rest []byte }

func (r *reader) number() (uint64, error) {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		return 0, errTruncated
	}
	r.rest = r.rest[size:]
	return n, nil
}

func (r *reader) bytes() ([]byte, error) {
	n, err := r.number()
	if err != nil {
		return nil, err
	}
	if n > uint64(len(r.rest)) {
		return nil, errTruncated
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b, nil
}
