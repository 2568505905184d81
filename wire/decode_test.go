package wire

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// envelope is a Message in comparable form. Refs and topicJSON are JSON, "" is an absent ref.
type envelope struct {
	joinRef, ref     string
	topicJSON, topic string
	event            string
	payload          string
	noTopic, noEvent bool // not a string
	binary           bool
}

func envelopeOf(m *Message) envelope {
	return envelope{
		joinRef: string(m.JoinRef), ref: string(m.Ref),
		topicJSON: string(m.TopicJSON), topic: string(m.Topic), event: string(m.Event),
		payload: string(m.Payload.Data), binary: m.Payload.Binary,
		noTopic: !m.TopicIsString, noEvent: !m.EventIsString,
	}
}

var heartbeat = envelope{ref: `"1"`, topicJSON: `"phoenix"`, topic: "phoenix", event: "heartbeat", payload: "{}"}

func TestDecodeV2Text(t *testing.T) {
	lobby := envelope{joinRef: `"1"`, ref: `"2"`, topicJSON: `"echo:lobby"`, topic: "echo:lobby", event: "echo", payload: `{"a":1}`}
	with := func(change func(*envelope)) envelope {
		e := lobby
		change(&e)
		return e
	}
	tests := map[string]struct {
		frame string
		want  envelope
	}{
		"heartbeat":   {`[null,"1","phoenix","heartbeat",{}]`, heartbeat},
		"push":        {`["1","2","echo:lobby","echo",{"a":1}]`, lobby},
		"six":         {`["1","2","echo:lobby","echo",{"a":1},"extra"]`, lobby},
		"newline":     {"[\"1\",\"2\",\"echo:lobby\",\"echo\",{\"a\":1}]\n", lobby},
		"white space": {" [\t\"1\" , \"2\"\r\n, \"echo:lobby\" ,\"echo\" , { \"a\" : 1 } , [ ] ] ", lobby},
		"integer refs": {`[1,2,"echo:lobby","echo",{"a":1}]`,
			with(func(e *envelope) { e.joinRef, e.ref = "1", "2" })},
		"odd refs": {`[{"a": 1},[ 2 ],"echo:lobby","echo",{"a":1}]`,
			with(func(e *envelope) { e.joinRef, e.ref = `{"a":1}`, "[2]" })},
		"empty ref": {`["",true,"echo:lobby","echo",{"a":1}]`,
			with(func(e *envelope) { e.joinRef, e.ref = `""`, "true" })},
		"topic null": {`["1","2",null,"echo",{"a":1}]`,
			with(func(e *envelope) { e.topicJSON, e.topic, e.noTopic = "null", "", true })},
		"topic object": {`["1","2",{ "a": [] },"echo",{"a":1}]`,
			with(func(e *envelope) { e.topicJSON, e.topic, e.noTopic = `{"a":[]}`, "", true })},
		"event number": {`["1","2","echo:lobby",5,{"a":1}]`,
			with(func(e *envelope) { e.event, e.noEvent = "", true })},
		"topic and event empty": {`["1","2","","",{"a":1}]`,
			with(func(e *envelope) { e.topicJSON, e.topic, e.event = `""`, "", "" })},
		"topic with escapes": {`["1","2","a\u003a\ud83d\udca7\/","e\n\"\u00e9",{"a":1}]`,
			with(func(e *envelope) {
				e.topicJSON, e.topic, e.event = `"a\u003a\ud83d\udca7\/"`, "a:💧/", "e\n\"é"
			})},
		"topic beyond ASCII": {`["1","2","raum:日本 💧","echo",{"a":1}]`,
			with(func(e *envelope) { e.topicJSON, e.topic = `"raum:日本 💧"`, "raum:日本 💧" })},
		"payload null":   {`["1","2","echo:lobby","echo",null]`, with(func(e *envelope) { e.payload = "null" })},
		"payload string": {`["1","2","echo:lobby","echo", " a b " ]`, with(func(e *envelope) { e.payload = `" a b "` })},
		"payload array":  {`["1","2","echo:lobby","echo",[1, "a"]]`, with(func(e *envelope) { e.payload = `[1,"a"]` })},
		"payload of equal keys": {`["1","2","echo:lobby","echo",{"a":1,"b":2,"a":3}]`,
			with(func(e *envelope) { e.payload = `{"a":1,"b":2,"a":3}` })},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { testDecode(t, V2{}, []byte(test.frame), false, test.want) })
	}
}

func TestDecodeV1(t *testing.T) {
	tests := map[string]struct {
		frame string
		want  envelope
	}{
		"heartbeat": {`{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}`, heartbeat},
		"any order": {`{"ref":"1","payload":{},"topic":"phoenix","event":"heartbeat"}`, heartbeat},
		"more keys": {`{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1","x":1,"topics":[{}]}`, heartbeat},
		"first of equal keys": {
			`{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1","ref":"2","topic":null}`, heartbeat},
		"white space": {
			" {\n \"topic\" : \"phoenix\" ,\r\n\t\"event\": \"heartbeat\", \"payload\" :{ }, \"ref\":\"1\" } \n", heartbeat},
		"escaped keys": {
			`{"t\u006fpic":"phoenix","\u0065vent":"heartbeat","payload":{},"re\u0066":"1"}`, heartbeat},
		"join_ref": {`{"topic":"phoenix","event":"heartbeat","payload":{"a":[1]},"ref":3,"join_ref":"9"}`,
			envelope{`"9"`, "3", `"phoenix"`, "phoenix", "heartbeat", `{"a":[1]}`, false, false, false}},
		"nulls": {`{"topic":null,"event":null,"payload":null,"ref":null,"join_ref":null}`,
			envelope{topicJSON: "null", payload: "null", noTopic: true, noEvent: true}},
	}
	for name, test := range tests {
		for _, binary := range []bool{false, true} { // Phoenix takes a binary frame for JSON too
			t.Run(fmt.Sprintf("%s/binary=%t", name, binary), func(t *testing.T) {
				testDecode(t, V1{}, []byte(test.frame), binary, test.want)
			})
		}
	}
}

func TestDecodeV2Binary(t *testing.T) {
	tests := map[string]struct {
		frame string
		want  envelope
	}{
		"push": {"\x00\x01\x02\x0a\x03" + "1" + "22" + "echo:lobby" + "bin" + "\x00\x01\xffh\xc3\xa9",
			envelope{`"1"`, `"22"`, `"echo:lobby"`, "echo:lobby", "bin", "\x00\x01\xffh\xc3\xa9", false, false, true}},
		"heartbeat without join_ref": {"\x00\x00\x01\x07\x09" + "2" + "phoenix" + "heartbeat",
			envelope{`""`, `"2"`, `"phoenix"`, "phoenix", "heartbeat", "", false, false, true}},
		"all empty": {"\x00\x00\x00\x00\x00",
			envelope{`""`, `""`, `""`, "", "", "", false, false, true}},
		"fields that need escapes": {"\x00\x03\x02\x03\x02" + `"\` + "\x00" + "é" + "a\nb" + "\t\"" + "data",
			envelope{`"\"\\\u0000"`, `"é"`, `"a\nb"`, "a\nb", "\t\"", "data", false, false, true}},
		"event that is not UTF-8": {"\x00\x01\x01\x02\x02" + "12" + "te" + "\xff\xfe" + "\x00",
			envelope{`"1"`, `"2"`, `"te"`, "te", "", "\x00", false, true, true}},
		"ref that is not UTF-8": {"\x00\x01\x02\x02\x08" + "1" + "\xff\xfe" + "te" + "phx_join" + "\x00",
			envelope{`"1"`, "", `"te"`, "te", "", "\x00", false, true, true}},
		"longest": {"\x00\xff\x00\xff\x00" + strings.Repeat("j", 255) + strings.Repeat("t", 255) + "d",
			envelope{`"` + strings.Repeat("j", 255) + `"`, `""`, `"` + strings.Repeat("t", 255) + `"`,
				strings.Repeat("t", 255), "", "d", false, false, true}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { testDecode(t, V2{}, []byte(test.frame), true, test.want) })
	}
}

// testDecode decodes twice into one Message: nothing of the first time may shine through.
func testDecode(t *testing.T, s Serializer, frame []byte, binary bool, want envelope) {
	t.Helper()
	var m Message
	for range 2 {
		if err := s.Decode(bytes.Clone(frame), binary, &m); err != nil {
			t.Fatalf("Decode(%q): %v", frame, err)
		}
		if got := envelopeOf(&m); got != want {
			t.Errorf("Decode(%q)\n got %+v\nwant %+v", frame, got, want)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	const binary, plain = true, false
	tests := map[string]struct {
		serializer Serializer
		binary     bool
		frame      string
		offset     int
		reason     fault
	}{
		"empty":                {V2{}, plain, "", 0, faultEnd},
		"spaces":               {V2{}, plain, "  ", 2, faultEnd},
		"not JSON":             {V2{}, plain, "{nope", 0, faultNotArray},
		"null":                 {V2{}, plain, "null", 0, faultNotArray},
		"object":               {V2{}, plain, `{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}`, 0, faultNotArray},
		"empty array":          {V2{}, plain, "[]", 1, faultUnexpected},
		"four":                 {V2{}, plain, `[null,"2","phoenix","heartbeat"]`, 31, faultElements},
		"trailing comma":       {V2{}, plain, `[null,"2","phoenix","heartbeat",]`, 32, faultUnexpected},
		"open":                 {V2{}, plain, `[null,"2","phoenix","heartbeat",{}`, 34, faultEnd},
		"wrong end":            {V2{}, plain, `[null,"2","phoenix","heartbeat",{}}`, 34, faultComma},
		"trailing garbage":     {V2{}, plain, `[null,"2","phoenix","heartbeat",{}] x`, 36, faultTrailing},
		"byte order mark":      {V2{}, plain, "\xef\xbb\xbf" + `[null,"2","phoenix","heartbeat",{}]`, 0, faultNotArray},
		"overflow":             {V2{}, plain, `["1","2","echo:lobby","echo",{"a":1e400}]`, 34, faultRange},
		"leading zero":         {V2{}, plain, `["1","2","echo:lobby","echo",{"a":01}]`, 34, faultNumber},
		"lone surrogate":       {V2{}, plain, `["1","2","echo:lobby","echo",{"x":"\ud800"}]`, 35, faultSurrogate},
		"control character":    {V2{}, plain, "[\"1\",\"2\",\"echo:lobby\",\"echo\",{\"x\":\"a\x01b\"}]", 36, faultControl},
		"bad in sixth":         {V2{}, plain, `[null,"2","phoenix","heartbeat",{},nul]`, 35, faultLiteral},
		"after white space":    {V2{}, plain, ` [ null , "2" , "phoenix" , "heartbeat" , tru ]`, 42, faultLiteral},
		"V1 empty":             {V1{}, plain, "", 0, faultEnd},
		"V1 array":             {V1{}, plain, `[null,"1","phoenix","heartbeat",{}]`, 0, faultNotObject},
		"V1 without anything":  {V1{}, plain, "{}", 1, faultMissing},
		"V1 without payload":   {V1{}, plain, `{"topic":"phoenix","event":"heartbeat","ref":"1"}`, 49, faultMissing},
		"V1 without ref":       {V1{}, plain, `{"topic":"phoenix","event":"heartbeat","payload":{}}`, 52, faultMissing},
		"V1 without topic":     {V1{}, plain, `{"event":"heartbeat","payload":{},"ref":"1"}`, 44, faultMissing},
		"V1 without event":     {V1{}, plain, `{"topic":"phoenix","payload":{},"ref":"1"}`, 42, faultMissing},
		"V1 trailing garbage":  {V1{}, plain, `{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"1"}x`, 62, faultTrailing},
		"V1 trailing comma":    {V1{}, plain, `{"topic":"phoenix",}`, 19, faultKey},
		"V1 no colon":          {V1{}, plain, `{"topic"  "phoenix"}`, 10, faultColon},
		"V1 no comma":          {V1{}, plain, `{"topic":"phoenix" "ref":"1"}`, 19, faultComma},
		"V1 bad value":         {V1{}, plain, `{"topic":01}`, 9, faultNumber},
		"V1 open":              {V1{}, plain, `{"topic":"phoenix"`, 18, faultEnd},
		"V1 binary message":    {V1{}, binary, "\x00\x01\x01\x0a\x0312echo:lobbybin\x00", 0, faultNotObject},
		"binary empty":         {V2{}, binary, "", 0, faultHeader},
		"binary short header":  {V2{}, binary, "\x00\x00\x00\x00", 4, faultHeader},
		"binary reply":         {V2{}, binary, "\x01\x01\x01\x0a\x0312echo:lobbybin\x00", 0, faultKind},
		"binary broadcast":     {V2{}, binary, "\x02\x01\x01\x0a\x0312echo:lobbybin\x00", 0, faultKind},
		"Supabase's broadcast": {V2{}, binary, "\x03\x01\x01\x0a\x0312echo:lobbybin\x00", 0, faultUserBroadcast},
		"binary of JSON":       {V2{}, binary, `[null,"2","phoenix","heartbeat",{}]`, 0, faultKind},
		"binary sizes too big": {V2{}, binary, "\x00\xff\x01\x0a\x0312echo:lobbybin", 1, faultHeader},
		"binary event too big": {V2{}, binary, "\x00\x01\x01\x01\x0212te", 4, faultHeader},
		"binary bad topic":     {V2{}, binary, "\x00\x01\x01\x02\x0112t\xffe", 7, faultUTF8},
		"binary bad join_ref":  {V2{}, binary, "\x00\x01\x01\x02\x01\xff2tee", 5, faultUTF8},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			err := test.serializer.Decode([]byte(test.frame), test.binary, new(Message))
			var decodeError *DecodeError
			if !errors.As(err, &decodeError) {
				t.Fatalf("error %v, want a *DecodeError", err)
			}
			if want := test.reason.at(test.offset).(*DecodeError); *decodeError != *want {
				t.Errorf("got %v, want %v", err, &want)
			}
		})
	}
}

// TestDecodeStaysInFrame: a payload is no copy, and appending to a slice of a message leaves its neighbours alone.
func TestDecodeStaysInFrame(t *testing.T) {
	frame := []byte(`["1","2","t","e",{"a":1}]`)
	var m Message
	if err := (V2{}).Decode(frame, false, &m); err != nil {
		t.Fatal(err)
	}
	if &m.Payload.Data[0] != &frame[17] {
		t.Error("payload does not point into the frame")
	}
	_ = append(m.JoinRef, "overwritten"...)
	_ = append(m.Payload.Data, "overwritten"...)
	if got := string(frame); got != `["1","2","t","e",{"a":1}]` {
		t.Errorf("an append wrote into the frame: %s", got)
	}
}
