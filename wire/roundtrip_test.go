package wire

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// value draws any JSON value of a few levels, with floats and integers, as encoding/json reads it.
func value(depth int) *rapid.Generator[any] {
	kinds := []*rapid.Generator[any]{
		rapid.Just[any](nil),
		rapid.Bool().AsAny(),
		rapid.Float64Range(-1e300, 1e300).AsAny(),
		rapid.Map(rapid.Int64Range(-1<<53, 1<<53), func(n int64) any { return float64(n) }),
		rapid.String().AsAny(),
	}
	if depth > 0 {
		kinds = append(kinds,
			rapid.Map(rapid.SliceOfN(value(depth-1), 0, 4), func(s []any) any { return s }),
			object(depth-1))
	}
	return rapid.OneOf(kinds...)
}

func object(depth int) *rapid.Generator[any] {
	return rapid.Map(rapid.MapOfN(rapid.String(), value(depth), 0, 4), func(m map[string]any) any { return m })
}

// marshal makes JSON of a value in one of the ways of clients: compact, with white space, or with escapes.
func marshal(t *rapid.T, v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(rapid.Bool().Draw(t, "escape"))
	if rapid.Bool().Draw(t, "indent") {
		e.SetIndent(" \r", "\t")
	}
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unmarshal(t *rapid.T, b []byte) (v any) {
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%q: %v", b, err)
	}
	return v
}

func equal(t *rapid.T, what string, got, want any) {
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s is %#v, want %#v", what, got, want)
	}
}

// TestRoundTripText: what a client writes is what a handler gets, and what the server writes of it is what a client reads.
func TestRoundTripText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			joinRef = value(1).Draw(t, "join_ref")
			ref     = value(1).Draw(t, "ref")
			topic   = rapid.String().Draw(t, "topic")
			event   = rapid.String().Draw(t, "event")
			payload = object(3).Draw(t, "payload")
			m       Message
		)
		s := rapid.SampledFrom(both).Draw(t, "serializer")
		var sent any = []any{joinRef, ref, topic, event, payload}
		if s == Serializer(V1{}) {
			sent = map[string]any{"join_ref": joinRef, "ref": ref, "topic": topic, "event": event, "payload": payload}
		}
		if err := s.Decode(marshal(t, sent), false, &m); err != nil {
			t.Fatal(err)
		}
		equal(t, "join_ref", unmarshal(t, appendRef(nil, m.JoinRef)), joinRef)
		equal(t, "ref", unmarshal(t, appendRef(nil, m.Ref)), ref)
		equal(t, "topic", string(m.Topic), topic)
		equal(t, "event", string(m.Event), event)
		equal(t, "payload", unmarshal(t, m.Payload.Data), payload)

		status := rapid.String().Draw(t, "status")
		response := map[string]any{"response": payload, "status": status}
		read(t, s, sender(s.AppendReply(nil, m.JoinRef, m.Ref, m.TopicJSON, status, m.Payload)),
			[]any{joinRef, ref, topic, "phx_reply", response})
		read(t, s, sender(s.AppendPush(nil, m.JoinRef, topic, event, m.Payload)), []any{joinRef, nil, topic, event, payload})
		read(t, s, sender(s.AppendBroadcast(nil, topic, event, m.Payload)), []any{nil, nil, topic, event, payload})
		read(t, s, s.AppendControl(nil, m.JoinRef, topic, event, m.Payload), []any{joinRef, joinRef, topic, event, payload})
	})
}

// sender takes what an encoder returned for a text message.
func sender(out []byte, binary bool, err error) []byte {
	if binary || err != nil {
		return nil
	}
	return out
}

// read compares a text frame with the five elements of version 2, of which version 1 has four.
func read(t *rapid.T, s Serializer, frame []byte, want []any) {
	if s == Serializer(V2{}) {
		equal(t, "frame", unmarshal(t, frame), any(want))
		return
	}
	equal(t, "frame", unmarshal(t, frame), any(map[string]any{"ref": want[1], "topic": want[2], "event": want[3], "payload": want[4]}))
}

// TestRoundTripBinary is the same for the binary half of version 2.
func TestRoundTripBinary(t *testing.T) {
	field := rapid.StringN(-1, -1, maxField)
	rapid.Check(t, func(t *rapid.T) {
		var (
			joinRef = field.Draw(t, "join_ref")
			ref     = field.Draw(t, "ref")
			topic   = field.Draw(t, "topic")
			event   = field.Draw(t, "event")
			status  = field.Draw(t, "status")
			data    = rapid.SliceOf(rapid.Byte()).Draw(t, "data")
			s       = V2{}
			m       Message
		)
		frame := clientPush([]byte(joinRef), []byte(ref), []byte(topic), []byte(event), data)
		if err := s.Decode(frame, true, &m); err != nil {
			t.Fatal(err)
		}
		equal(t, "join_ref", unmarshal(t, m.JoinRef), joinRef)
		equal(t, "ref", unmarshal(t, m.Ref), ref)
		equal(t, "topicJSON", unmarshal(t, m.TopicJSON), topic)
		equal(t, "topic", string(m.Topic), topic)
		equal(t, "event", string(m.Event), event)
		equal(t, "payload", string(m.Payload.Data), string(data))

		out, binary, err := s.AppendReply(nil, m.JoinRef, m.Ref, m.TopicJSON, status, m.Payload)
		readBinary(t, out, binary, err, kindReply, joinRef, ref, topic, status, string(data))
		out, binary, err = s.AppendPush(nil, m.JoinRef, topic, event, m.Payload)
		readBinary(t, out, binary, err, kindPush, joinRef, topic, event, string(data))
		out, binary, err = s.AppendBroadcast(nil, topic, event, m.Payload)
		readBinary(t, out, binary, err, kindBroadcast, topic, event, string(data))
	})
}

// readBinary takes a server's frame apart as binaryDecode of serializer.js does: as many sizes as there are
// fields but for the data, which is the rest.
func readBinary(t *rapid.T, frame []byte, binary bool, err error, kind byte, want ...string) {
	if err != nil || !binary || frame[0] != kind {
		t.Fatalf("frame %q binary=%t: %v", frame, binary, err)
	}
	sizes, rest := frame[1:len(want)], frame[len(want):]
	var got []string
	for _, size := range sizes {
		got = append(got, string(rest[:size]))
		rest = rest[size:]
	}
	equal(t, "frame", append(got, string(rest)), want)
}
