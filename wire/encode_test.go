package wire

import (
	"errors"
	"strings"
	"testing"
)

// encoding is one call of an encoder and what it must append.
type encoding struct {
	name   string
	encode func(dst []byte) ([]byte, bool, error)
	want   string
	binary bool
}

func push(s Serializer, joinRef, topic, event string, p Payload) func([]byte) ([]byte, bool, error) {
	j := refFrom(joinRef)
	return func(dst []byte) ([]byte, bool, error) { return s.AppendPush(dst, j, topic, event, p) }
}

func reply(s Serializer, joinRef, ref, topicJSON, status string, p Payload) func([]byte) ([]byte, bool, error) {
	j, r, quoted := refFrom(joinRef), refFrom(ref), []byte(topicJSON)
	return func(dst []byte) ([]byte, bool, error) { return s.AppendReply(dst, j, r, quoted, status, p) }
}

func broadcast(s Serializer, topic, event string, p Payload) func([]byte) ([]byte, bool, error) {
	return func(dst []byte) ([]byte, bool, error) { return s.AppendBroadcast(dst, topic, event, p) }
}

func control(s Serializer, joinRef, topic, event string, p Payload) func([]byte) ([]byte, bool, error) {
	j := refFrom(joinRef)
	return func(dst []byte) ([]byte, bool, error) { return s.AppendControl(dst, j, topic, event, p), false, nil }
}

// refFrom is the ref of some JSON; "" is null.
func refFrom(json string) Ref {
	if json == "" {
		return nil
	}
	return Ref(json)
}

func TestEncode(t *testing.T) {
	v1, v2 := both[0], both[1]
	long := strings.Repeat("t", 255)
	tests := []encoding{
		{"V2 push", push(v2, `"1"`, "echo:lobby", "pushed", text("{}")), `["1",null,"echo:lobby","pushed",{}]`, false},
		{"V2 push, integer", push(v2, "1", "a", "b", text("{}")), `[1,null,"a","b",{}]`, false},
		{"V2 push, null", push(v2, "", "a\"b", "é\n", text(`{"a":1}`)), `[null,null,"a\"b","é\n",{"a":1}]`, false},
		{"V2 reply", reply(v2, `"1"`, `"2"`, `"echo:lobby"`, "ok", text(`{"a":1}`)),
			`["1","2","echo:lobby","phx_reply",{"response":{"a":1},"status":"ok"}]`, false},
		{"V2 reply, odd", reply(v2, `{"a":1}`, "1.5", "null", "a\"b", text("null")),
			`[{"a":1},1.5,null,"phx_reply",{"response":null,"status":"a\"b"}]`, false},
		{"V2 broadcast", broadcast(v2, "a", "b", text(`{"<x>":"&"}`)), `[null,null,"a","b",{"<x>":"&"}]`, false},
		{"V2 close", control(v2, `"5"`, "a", "phx_close", text("{}")), `["5","5","a","phx_close",{}]`, false},
		{"V2 error, null", control(v2, "", "a", "phx_error", text(`{"reason":"channel_crash"}`)),
			`[null,null,"a","phx_error",{"reason":"channel_crash"}]`, false},
		{"V2 binary push", push(v2, `"77"`, "echo:lobby", "bin_pushed", bytesOf("\xde\xad\xbe\xef")),
			"\x00\x02\x0a\x0a77echo:lobbybin_pushed\xde\xad\xbe\xef", true},
		{"V2 binary push, null", push(v2, "", "a", "b", bytesOf("")), "\x00\x00\x01\x01ab", true},
		{"V2 binary reply", reply(v2, `"1"`, `"22"`, `"echo:lobby"`, "ok", bytesOf("\x00\x01\xffh\xc3\xa9")),
			"\x01\x01\x02\x0a\x02122echo:lobbyok\x00\x01\xffh\xc3\xa9", true},
		{"V2 binary reply, null ref", reply(v2, `"1"`, "", `"echo:lobby"`, "ok", bytesOf("\xca\xfe")),
			"\x01\x01\x00\x0a\x021echo:lobbyok\xca\xfe", true},
		{"V2 binary reply, numbers and escapes", reply(v2, "12", `"\u00e9\n"`, `"a\u003ab"`, "", bytesOf("x")),
			"\x01\x02\x03\x03\x0012é\na:bx", true},
		{"V2 binary broadcast", broadcast(v2, "echo:lobby", "bin_shout", bytesOf("plain")),
			"\x02\x0a\x09echo:lobbybin_shoutplain", true},
		{"V2 binary, longest", broadcast(v2, long, "", bytesOf("")), "\x02\xff\x00" + long, true},

		{"V1 push", push(v1, `"1"`, "echo:lobby", "pushed", text("[1,2]")),
			`{"event":"pushed","payload":[1,2],"ref":null,"topic":"echo:lobby"}`, false},
		{"V1 reply", reply(v1, `"1"`, `"2"`, `"echo:lobby"`, "error", text(`{"a":1}`)),
			`{"event":"phx_reply","payload":{"response":{"a":1},"status":"error"},"ref":"2","topic":"echo:lobby"}`, false},
		{"V1 broadcast", broadcast(v1, "a", "b", text("{}")), `{"event":"b","payload":{},"ref":null,"topic":"a"}`, false},
		{"V1 close", control(v1, `"1"`, "a", "phx_close", text("{}")), `{"event":"phx_close","payload":{},"ref":"1","topic":"a"}`, false},
		{"V1 close, null", control(v1, "", "a", "phx_close", text("{}")), `{"event":"phx_close","payload":{},"ref":null,"topic":"a"}`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			const before = "before "
			out, binary, err := test.encode([]byte(before))
			if err != nil {
				t.Fatal(err)
			}
			if string(out) != before+test.want || binary != test.binary {
				t.Errorf("\n got %q binary=%t\nwant %q binary=%t", out, binary, before+test.want, test.binary)
			}
		})
	}
}

func TestEncodeErrors(t *testing.T) {
	v1, v2 := both[0], both[1]
	long := strings.Repeat("t", 256)
	tests := map[string]struct {
		encode func(dst []byte) ([]byte, bool, error)
		want   error
	}{
		"V1 binary push":          {push(v1, "", "a", "b", bytesOf("{}")), ErrNotText},
		"V1 binary reply":         {reply(v1, "", "", `"a"`, "ok", bytesOf("{}")), ErrNotText},
		"V1 binary broadcast":     {broadcast(v1, "a", "b", bytesOf("{}")), ErrNotText},
		"V2 push of array":        {push(v2, "", "a", "b", text("[]")), ErrNotObject},
		"V2 push of nothing":      {push(v2, "", "a", "b", text("")), ErrNotObject},
		"V2 broadcast of string":  {broadcast(v2, "a", "b", text(`"x"`)), ErrNotObject},
		"V2 long topic, push":     {push(v2, "", long, "b", bytesOf("")), ErrTooLong},
		"V2 long join_ref, push":  {push(v2, `"`+long+`"`, "a", "b", bytesOf("")), ErrTooLong},
		"V2 long event, push":     {push(v2, "", "a", long, bytesOf("")), ErrTooLong},
		"V2 long topic, reply":    {reply(v2, "", "", `"`+long+`"`, "ok", bytesOf("")), ErrTooLong},
		"V2 long ref, reply":      {reply(v2, "", `"`+long+`"`, `"a"`, "ok", bytesOf("")), ErrTooLong},
		"V2 long status, reply":   {reply(v2, "", "", `"a"`, long, bytesOf("")), ErrTooLong},
		"V2 long topic broadcast": {broadcast(v2, long, "b", bytesOf("")), ErrTooLong},
		"V2 long event broadcast": {broadcast(v2, "a", long, bytesOf("")), ErrTooLong},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			out, _, err := test.encode([]byte("before"))
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
			if string(out) != "before" {
				t.Errorf("dst became %q", out)
			}
		})
	}
}
