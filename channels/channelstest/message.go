package channelstest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/mycelium-rt/mycelium/channels"
)

// message is one envelope of version 2, from the server.
type message struct {
	joinRef, ref, topic, event string
	payload                    json.RawMessage
	binary                     []byte // in place of payload
	reply                      Reply  // of a phx_reply
}

// encode makes a client's envelope.
func encode(joinRef, ref, topic, event string, payload any) (frame []byte, binary bool, err error) {
	if data, ok := payload.(channels.Binary); ok {
		frame = append(frame, 0, byte(len(joinRef)), byte(len(ref)), byte(len(topic)), byte(len(event)))
		frame = append(frame, joinRef+ref+topic+event...)
		return append(frame, data...), true, nil
	}
	if payload == nil {
		payload = struct{}{}
	}
	frame, err = json.Marshal([]any{joinRef, ref, topic, event, payload})
	return frame, false, err
}

var errEnvelope = errors.New("channelstest: the server sent a malformed envelope")

// decode takes a server's envelope apart.
func decode(data []byte, binary bool) (message, error) {
	if binary {
		return decodeBinary(data)
	}
	var joinRef, ref *string
	var m message
	if err := json.Unmarshal(data, &[]any{&joinRef, &ref, &m.topic, &m.event, &m.payload}); err != nil {
		return m, fmt.Errorf("%w: %w", errEnvelope, err)
	}
	if joinRef != nil {
		m.joinRef = *joinRef
	}
	if ref != nil {
		m.ref = *ref
	}
	if m.event == "phx_reply" {
		return m, json.Unmarshal(m.payload, &m.reply)
	}
	return m, nil
}

// binaryFields are the sizes that follow the kind: push, reply, broadcast
// (assets/js/phoenix/serializer.js).
var binaryFields = [...]int{0: 3, 1: 4, 2: 2}

func decodeBinary(data []byte) (m message, err error) {
	if len(data) == 0 || int(data[0]) >= len(binaryFields) {
		return m, errEnvelope
	}
	kind, n := data[0], binaryFields[data[0]]
	if len(data) < 1+n {
		return m, errEnvelope
	}
	fields := make([]string, n)
	rest := data[1+n:]
	for i, size := range data[1 : 1+n] {
		if len(rest) < int(size) {
			return m, errEnvelope
		}
		fields[i], rest = string(rest[:size]), rest[size:]
	}
	m.binary = rest
	switch kind {
	case 0:
		m.joinRef, m.topic, m.event = fields[0], fields[1], fields[2]
	case 1:
		m.joinRef, m.ref, m.topic, m.event = fields[0], fields[1], fields[2], "phx_reply"
		m.reply = Reply{Status: fields[3], Binary: rest}
	case 2:
		m.topic, m.event = fields[0], fields[1]
	}
	return m, nil
}

// matches compares what was received with what is wanted: nil is anything,
// Binary the same bytes, and of an object the wanted keys.
func matches(want any, text json.RawMessage, data []byte) bool {
	if want == nil {
		return true
	}
	if b, ok := want.(channels.Binary); ok {
		return text == nil && bytes.Equal(b, data)
	}
	encoded, err := json.Marshal(want)
	if err != nil {
		return false
	}
	var w, g any
	return json.Unmarshal(encoded, &w) == nil && json.Unmarshal(text, &g) == nil && covers(w, g)
}

func covers(want, got any) bool {
	object, ok := want.(map[string]any)
	if !ok {
		return reflect.DeepEqual(want, got)
	}
	has, ok := got.(map[string]any)
	if !ok {
		return false
	}
	for key, value := range object {
		if v, ok := has[key]; !ok || !covers(value, v) {
			return false
		}
	}
	return true
}

func (m message) String() string {
	return fmt.Sprintf("%s %s %s", m.topic, m.event, show(m.payload, m.binary))
}

func describe(inbox []message) string {
	if len(inbox) == 0 {
		return " nothing"
	}
	var b strings.Builder
	for _, m := range inbox {
		b.WriteString("\n  " + m.String())
	}
	return b.String()
}

func show(text json.RawMessage, data []byte) string {
	if text != nil {
		return string(text)
	}
	return fmt.Sprintf("%d bytes %x", len(data), data)
}

func showWanted(want any) string {
	if b, ok := want.(channels.Binary); ok {
		return show(nil, b)
	}
	if want == nil {
		return "(anything)"
	}
	text, _ := json.Marshal(want)
	return string(text)
}
