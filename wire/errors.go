package wire

import (
	"errors"
	"strconv"
)

// What the encoders refuse. Each is the caller's to answer: none of them means that the receiving
// socket is broken.
var (
	// ErrTooLong is a ref, topic, event or status of more than 255 bytes in a binary frame, where
	// sizes are one byte each.
	ErrTooLong = errors.New("wire: field of more than 255 bytes in a binary frame")

	// ErrNotText is a binary payload for a version 1 socket, which knows text only.
	ErrNotText = errors.New("wire: binary payload for a version 1 socket")

	// ErrNotObject is a push or a broadcast whose payload is neither a JSON object nor binary.
	ErrNotObject = errors.New("wire: payload of a push or broadcast is not an object")
)

// ErrIgnored is returned by a Decode that drops a message and lets the socket live, as some servers do with
// what they cannot read. V1 and V2 never return it.
var ErrIgnored = errors.New("wire: message ignored")

// DecodeError is a frame that is no message, or JSON that is not valid. The sender's socket does not
// survive it; nothing else is touched.
type DecodeError struct {
	Offset int    // bytes from the start of the frame, as it was received
	Reason string // what is wrong there, for people; never contains what the client sent
	// Advice, if not empty, is for the Close frame, whose reason Phoenix leaves
	// empty: what a client of another dialect needs to be told.
	Advice string
}

// Error returns what is wrong and where.
func (e *DecodeError) Error() string {
	return "wire: " + e.Reason + " at byte " + strconv.Itoa(e.Offset)
}

// fault is why scanning stopped. Scanners return it instead of an error because it fits a register
// and never allocates.
type fault uint8

const (
	faultNone fault = iota
	faultEnd
	faultTrailing
	faultUnexpected
	faultDepth
	faultLiteral
	faultNumber
	faultRange
	faultControl
	faultEscape
	faultSurrogate
	faultUTF8
	faultKey
	faultColon
	faultComma
	faultNotArray
	faultNotObject
	faultElements
	faultMissing
	faultKind
	faultUserBroadcast
	faultHeader
)

var faultReasons = [...]string{
	faultNone:          "no fault",
	faultEnd:           "unexpected end",
	faultTrailing:      "something after the end of the JSON value",
	faultUnexpected:    "no JSON value",
	faultDepth:         "JSON nested too deep",
	faultLiteral:       "bad literal",
	faultNumber:        "bad number",
	faultRange:         "number beyond 64 bit floats",
	faultControl:       "control character in a string",
	faultEscape:        "bad escape in a string",
	faultSurrogate:     "lone surrogate in a string",
	faultUTF8:          "bad UTF-8",
	faultKey:           "no key where an object needs one",
	faultColon:         "no colon after a key",
	faultComma:         "neither comma nor end after a value",
	faultNotArray:      "message is not an array",
	faultNotObject:     "message is not an object",
	faultElements:      "message of fewer than five elements",
	faultMissing:       "message without topic, event, payload or ref",
	faultKind:          "binary message that is not a push",
	faultUserBroadcast: "binary message of kind 3, which is Supabase's",
	faultHeader:        "binary message shorter than its header says",
}

// at makes the error for a fault at a byte of the frame.
func (f fault) at(offset int) error {
	e := &DecodeError{Offset: offset, Reason: faultReasons[f]}
	if f == faultUserBroadcast {
		e.Advice = `binary broadcasts of Supabase need an instance of type "realtime", or vsn: "1.0.0" in realtime-js`
	}
	return e
}
