package wire

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// The fuzz targets compare with encoding/json plus the rules that it does not have. Their seeds are in
// testdata/fuzz: frames of real clients and those that Phoenix was seen to refuse.

func FuzzValidate(f *testing.F) {
	f.Fuzz(func(t *testing.T, input []byte) {
		want := strictlyValid(input, maxDepth)
		got, err := Validate(bytes.Clone(input))
		if (err == nil) != want {
			t.Fatalf("Validate(%q): %v, the oracle says %t", input, err, want)
		}
		if err != nil {
			checkOffset(t, err, len(input))
			return
		}
		if compact := compacted(t, input); !bytes.Equal(got, compact) {
			t.Fatalf("Validate(%q) = %q, want %q", input, got, compact)
		}
		if IsObject(got) != (bytes.TrimLeft(input, " \n\r\t")[0] == '{') {
			t.Fatalf("IsObject(%q) is wrong", got)
		}
	})
}

func FuzzDecodeV2Text(f *testing.F) {
	f.Fuzz(func(t *testing.T, frame []byte) {
		var elements []json.RawMessage
		want := strictlyValid(frame, maxDepth+1) && json.Unmarshal(frame, &elements) == nil && len(elements) >= 5
		var m Message
		err := (V2{}).Decode(bytes.Clone(frame), false, &m)
		if (err == nil) != want {
			t.Fatalf("Decode(%q): %v, the oracle says %t", frame, err, want)
		}
		if err != nil {
			checkOffset(t, err, len(frame))
			return
		}
		checkMessage(t, &m, elements[0], elements[1], elements[2], elements[3], elements[4])
		checkReply(t, V2{}, &m)
	})
}

func FuzzDecodeV1(f *testing.F) {
	f.Fuzz(func(t *testing.T, frame []byte) {
		fields := map[string]json.RawMessage{}
		want := strictlyValid(frame, maxDepth+1) && firstOfKeys(frame, fields)
		for _, required := range []string{"topic", "event", "payload", "ref"} {
			want = want && fields[required] != nil
		}
		var m Message
		err := V1{}.Decode(bytes.Clone(frame), false, &m)
		if (err == nil) != want {
			t.Fatalf("Decode(%q): %v, the oracle says %t", frame, err, want)
		}
		if err != nil {
			checkOffset(t, err, len(frame))
			return
		}
		joinRef := fields["join_ref"]
		if joinRef == nil {
			joinRef = json.RawMessage("null")
		}
		checkMessage(t, &m, joinRef, fields["ref"], fields["topic"], fields["event"], fields["payload"])
		checkReply(t, V1{}, &m)
	})
}

func FuzzDecodeV2Binary(f *testing.F) {
	f.Fuzz(func(t *testing.T, frame []byte) {
		var m Message
		if err := (V2{}).Decode(bytes.Clone(frame), true, &m); err != nil {
			checkOffset(t, err, len(frame))
			return
		}
		if !m.TopicIsString || !m.Payload.Binary {
			t.Fatalf("Decode(%q) = %+v", frame, m)
		}
		if !m.EventIsString { // then the event or the ref is not UTF-8, which ends the channel alone
			ref := frame[5+int(frame[1]):][:frame[2]]
			event := frame[5+int(frame[1])+int(frame[2])+int(frame[3]):][:frame[4]]
			if utf8.Valid(ref) && utf8.Valid(event) {
				t.Fatalf("%q: the event %q is taken for no text", frame, event)
			}
			return
		}
		var joinRef, ref, topic string
		for field, into := range map[string]*string{string(m.JoinRef): &joinRef, string(m.Ref): &ref, string(m.TopicJSON): &topic} {
			if err := json.Unmarshal([]byte(field), into); err != nil {
				t.Fatalf("Decode(%q) made the JSON %q: %v", frame, field, err)
			}
		}
		back := clientPush(m.JoinRef.AppendText(nil), m.Ref.AppendText(nil), []byte(string(m.Topic)), m.Event, m.Payload.Data)
		if !bytes.Equal(back, frame) {
			t.Fatalf("%q comes back as %q", frame, back)
		}
		checkReply(t, V2{}, &m)
	})
}

// clientPush is the binary frame of a client, as serializer.js of phoenix.js makes it.
func clientPush(joinRef, ref, topic, event, data []byte) []byte {
	frame := []byte{0, byte(len(joinRef)), byte(len(ref)), byte(len(topic)), byte(len(event))}
	return bytes.Join([][]byte{frame, joinRef, ref, topic, event, data}, nil)
}

// checkMessage compares a message with the elements that encoding/json found.
func checkMessage(t *testing.T, m *Message, joinRef, ref, topic, event, payload json.RawMessage) {
	t.Helper()
	for name, pair := range map[string][2][]byte{
		"join_ref": {appendRef(nil, m.JoinRef), joinRef},
		"ref":      {appendRef(nil, m.Ref), ref},
		"topic":    {m.TopicJSON, topic},
		"payload":  {m.Payload.Data, payload},
	} {
		if want := compacted(t, pair[1]); !bytes.Equal(pair[0], want) {
			t.Fatalf("%s is %q, want %q", name, pair[0], want)
		}
	}
	checkString(t, m.Topic, m.TopicIsString, topic)
	checkString(t, m.Event, m.EventIsString, event)
}

func checkString(t *testing.T, got []byte, isString bool, raw json.RawMessage) {
	t.Helper()
	var want string
	if wantString := raw[0] == '"'; isString != wantString {
		t.Fatalf("%q is a string: %t", raw, isString)
	} else if !wantString {
		return
	}
	if err := json.Unmarshal(raw, &want); err != nil || string(got) != want {
		t.Fatalf("%q is decoded to %q, want %q (%v)", raw, got, want, err)
	}
}

// checkReply answers a message with its own payload: what goes out must be valid and compact.
func checkReply(t *testing.T, s Serializer, m *Message) {
	t.Helper()
	out, binary, err := s.AppendReply(nil, m.JoinRef, m.Ref, m.TopicJSON, "ok", m.Payload)
	if err != nil || binary != m.Payload.Binary {
		t.Fatalf("reply to %+v: binary %t, %v", m, binary, err)
	}
	if binary {
		return
	}
	if compact, err := Validate(bytes.Clone(out)); err != nil || !bytes.Equal(compact, out) {
		t.Fatalf("reply %q: %v", out, err)
	}
}

func checkOffset(t *testing.T, err error, length int) {
	t.Helper()
	decodeError, ok := err.(*DecodeError)
	if !ok || decodeError.Offset < 0 || decodeError.Offset > length || decodeError.Reason == "" {
		t.Fatalf("bad error for %d bytes: %#v", length, err)
	}
}

// firstOfKeys reads an object; the first of equal keys counts.
func firstOfKeys(object []byte, into map[string]json.RawMessage) bool {
	d := json.NewDecoder(bytes.NewReader(object))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return false
	}
	for d.More() {
		key, err := d.Token()
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			return false
		}
		if name := key.(string); into[name] == nil {
			into[name] = value
		}
	}
	return true
}

func compacted(t *testing.T, input []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, input); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// strictlyValid is the oracle: encoding/json, UTF-8, and the rules for depth, numbers and surrogates.
func strictlyValid(input []byte, depth int) bool {
	if !json.Valid(input) || !utf8.Valid(input) || hasLoneSurrogate(input) {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(input))
	d.UseNumber()
	open := 0
	for {
		token, err := d.Token()
		if err != nil {
			return err == io.EOF
		}
		switch token := token.(type) {
		case json.Delim:
			if open += map[json.Delim]int{'[': 1, '{': 1, ']': -1, '}': -1}[token]; open > depth {
				return false
			}
		case json.Number:
			_, err := strconv.ParseFloat(string(token), 64)
			if err != nil && strings.ContainsAny(string(token), ".eE") {
				return false
			}
		}
	}
}

var escape = regexp.MustCompile(`\\u([0-9a-fA-F]{4})|\\.`)

// hasLoneSurrogate looks through the escapes of valid JSON, where backslashes stand in strings only.
func hasLoneSurrogate(input []byte) bool {
	highEnd := -1 // where a high surrogate ended that waits for its low one
	for _, at := range escape.FindAllSubmatchIndex(input, -1) {
		code := uint64(0)
		if at[2] >= 0 {
			code, _ = strconv.ParseUint(string(input[at[2]:at[3]]), 16, 16)
		}
		isLow := code >= 0xdc00 && code < 0xe000
		if isLow != (highEnd >= 0 && highEnd == at[0]) || highEnd >= 0 && highEnd != at[0] {
			return true
		}
		highEnd = -1
		if code >= 0xd800 && code < 0xdc00 {
			highEnd = at[1]
		}
	}
	return highEnd >= 0
}
