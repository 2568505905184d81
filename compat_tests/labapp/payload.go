package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mycelium-rt/mycelium/channels"
)

// object has the members of a JSON object.
type object map[string]json.RawMessage

// objectOf returns the payload as an object, and panics if it is not one.
func objectOf(p channels.Payload) object {
	o, err := asObject(p)
	if err != nil {
		panic(err)
	}
	return o
}

func asObject(p channels.Payload) (object, error) {
	var o object
	if p.Binary {
		return nil, errors.New("the payload is bytes")
	}
	if err := json.Unmarshal(p.Data, &o); err != nil {
		return nil, err
	}
	if o == nil {
		return nil, errors.New("the payload is null")
	}
	return o, nil
}

// bytesOf returns a binary payload, and panics if it is JSON.
func bytesOf(p channels.Payload) channels.Binary {
	if !p.Binary {
		panic("the payload is not bytes")
	}
	return channels.Binary(p.Data)
}

// has reports whether there is a member that is not null.
func (o object) has(key string) bool { return len(o[key]) > 0 && string(o[key]) != "null" }

// isTrue reports whether a member is the value true.
func (o object) isTrue(key string) bool { return string(o[key]) == "true" }

// text returns a member that is a string, and panics if it is not.
func (o object) text(key string) string {
	var s *string
	if err := json.Unmarshal(o[key], &s); err != nil || s == nil {
		panic(fmt.Sprintf("%q is not a string", key))
	}
	return *s
}

// name returns a member that is a string, a number or a boolean, as text.
func (o object) name(key string) string {
	switch raw := o[key]; {
	case len(raw) == 0:
		panic(fmt.Sprintf("no %q", key))
	case raw[0] == '"':
		return o.text(key)
	case raw[0] == '{', raw[0] == '[', string(raw) == "null":
		panic(fmt.Sprintf("%q cannot be a name", key))
	default:
		return string(raw)
	}
}

// or returns the member, or the fallback if there is none.
func (o object) or(key, fallback string) json.RawMessage {
	if o.has(key) {
		return o[key]
	}
	return json.RawMessage(fallback)
}

// encode returns the members as a payload.
func (o object) encode() channels.Payload {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(o); err != nil {
		panic(err)
	}
	return channels.Payload{Data: bytes.TrimSpace(buf.Bytes())}
}

// keep copies a payload, so that it stays valid after its handler has returned.
func keep(p channels.Payload) channels.Payload {
	return channels.Payload{Data: bytes.Clone(p.Data), Binary: p.Binary}
}
