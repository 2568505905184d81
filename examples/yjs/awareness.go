package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
)

// Bounds of what a document's clients show each other: cursors, names, colors.
const (
	maxAwareness = 1000     // clients of a document, including those that have left
	maxState     = 16 << 10 // bytes of one client's state
)

// awareness is what the clients of a document show each other besides its content,
// by their Yjs client id. It follows awareness.js of y-protocols.
//
// A provider sends back each state that it learns, so the server passes on only what
// is new to it. Otherwise n clients would answer one movement of a cursor with n²
// messages.
type awareness map[uint64]client

type client struct {
	clock uint64 // grows with each change
	state []byte // JSON; nil if the client has left
	owner *member
}

// change is one entry of an awareness update.
type change struct {
	id, clock uint64
	state     []byte // JSON, null for a client that has left
}

var null = []byte("null")

// apply applies an update from member m, and returns the update that the other
// clients need, or nil. An entry with a known clock is ignored, so a client that was
// gone is shown again when its clock advances: when its cursor moves, or when it
// renews its state, which clients do every 15 s.
func (a awareness) apply(m *member, update []byte) ([]byte, error) {
	changes, err := decodeAwareness(update)
	if err != nil {
		return nil, err
	}
	changes = slices.DeleteFunc(changes, func(ch change) bool {
		known, left := a[ch.id], bytes.Equal(ch.state, null)
		switch {
		case ch.clock < known.clock, ch.clock == known.clock && (!left || known.state == nil):
			return true
		case left:
			a[ch.id] = client{clock: ch.clock}
		default:
			a[ch.id] = client{ch.clock, bytes.Clone(ch.state), m}
		}
		return false
	})
	return encodeAwareness(changes), a.bound()
}

// bound forgets clients that have left if there are too many.
func (a awareness) bound() error {
	if len(a) <= maxAwareness {
		return nil
	}
	maps.DeleteFunc(a, func(_ uint64, c client) bool { return c.state == nil })
	if len(a) > maxAwareness {
		return fmt.Errorf("more than %d clients", maxAwareness)
	}
	return nil
}

// all returns an update with the states of all clients, or nil if there are none.
func (a awareness) all() []byte {
	var changes []change
	for id, c := range a {
		if c.state != nil {
			changes = append(changes, change{id, c.clock, c.state})
		}
	}
	return encodeAwareness(changes)
}

// leave removes the clients of m and returns the update that says so, or nil if there
// were none.
func (a awareness) leave(m *member) []byte {
	var changes []change
	for id, c := range a {
		if c.owner == m && c.state != nil {
			a[id] = client{clock: c.clock}
			changes = append(changes, change{id, c.clock, null})
		}
	}
	return encodeAwareness(changes)
}

func decodeAwareness(update []byte) ([]change, error) {
	r := reader{update}
	n, err := r.number()
	if err != nil {
		return nil, err
	}
	if n > maxAwareness {
		return nil, fmt.Errorf("more than %d clients", maxAwareness)
	}
	changes := make([]change, n)
	for i := range changes {
		ch := &changes[i]
		if ch.id, err = r.number(); err != nil {
			return nil, err
		}
		if ch.clock, err = r.number(); err != nil {
			return nil, err
		}
		if ch.state, err = r.bytes(); err != nil {
			return nil, err
		}
		if len(ch.state) > maxState {
			return nil, fmt.Errorf("a state has %d bytes, more than %d", len(ch.state), maxState)
		}
	}
	return changes, nil
}

func encodeAwareness(changes []change) []byte {
	if len(changes) == 0 {
		return nil
	}
	update := binary.AppendUvarint(nil, uint64(len(changes)))
	for _, ch := range changes {
		update = binary.AppendUvarint(update, ch.id)
		update = binary.AppendUvarint(update, ch.clock)
		update = appendBytes(update, ch.state)
	}
	return update
}
