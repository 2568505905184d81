package wire

import "testing"

// The budgets of the hot path: a frame comes in and goes out without an allocation. A Message has its scratch
// buffer after the first message that needs one.

const chatFrame = `["3","17","room:lobby","new_msg",{"user":"ada","body":"hello, how is everybody today?","at":1732370000123,"tags":["a","b"]}]`

const chatFrameV1 = `{"topic":"room:lobby","event":"new_msg","payload":{"user":"ada","body":"hello, how is everybody today?"},"ref":"17"}`

const spacedFrame = `[ "3", "17", "room:\u006cobby", "new_msg", { "user": "ada", "body": "hello, how is everybody today?" } ]`

const binaryFrame = "\x00\x01\x02\x0a\x07" + "3" + "17" + "room:lobby" + "new_msg" + "0123456789abcdef0123456789abcdef"

// decoding returns a function that decodes a fresh copy of a frame into the same Message.
func decoding(tb testing.TB, s Serializer, frame string, binary bool) func() {
	buffer := make([]byte, len(frame))
	m := new(Message)
	return func() {
		copy(buffer, frame)
		if err := s.Decode(buffer, binary, m); err != nil {
			tb.Fatal(err)
		}
	}
}

// appending returns a function that encodes into the same buffer.
func appending(tb testing.TB, encode func(dst []byte) ([]byte, bool, error)) func() {
	buffer := make([]byte, 0, 1024)
	return func() {
		if _, _, err := encode(buffer); err != nil {
			tb.Fatal(err)
		}
	}
}

// hotPath is what must not allocate, and what is measured.
func hotPath(tb testing.TB) map[string]func() {
	v1, v2 := both[0], both[1]
	payload := text(`{"user":"ada","body":"hello, how is everybody today?","at":1732370000123,"tags":["a","b"]}`)
	data := bytesOf("0123456789abcdef0123456789abcdef")
	return map[string]func(){
		"Decode/V1":                decoding(tb, v1, chatFrameV1, false),
		"Decode/V2Text":            decoding(tb, v2, chatFrame, false),
		"Decode/V2TextSpaced":      decoding(tb, v2, spacedFrame, false),
		"Decode/V2Heartbeat":       decoding(tb, v2, `[null,"1","phoenix","heartbeat",{}]`, false),
		"Decode/V2Binary":          decoding(tb, v2, binaryFrame, true),
		"AppendPush/V1":            appending(tb, push(v1, `"3"`, "room:lobby", "new_msg", payload)),
		"AppendPush/V2Text":        appending(tb, push(v2, `"3"`, "room:lobby", "new_msg", payload)),
		"AppendPush/V2Binary":      appending(tb, push(v2, `"3"`, "room:lobby", "new_msg", data)),
		"AppendReply/V1":           appending(tb, reply(v1, `"3"`, `"17"`, `"room:lobby"`, "ok", payload)),
		"AppendReply/V2Text":       appending(tb, reply(v2, `"3"`, `"17"`, `"room:lobby"`, "ok", payload)),
		"AppendReply/V2Binary":     appending(tb, reply(v2, `"3"`, `"17"`, `"room:lobby"`, "ok", data)),
		"AppendBroadcast/V1":       appending(tb, broadcast(v1, "room:lobby", "new_msg", payload)),
		"AppendBroadcast/V2Text":   appending(tb, broadcast(v2, "room:lobby", "new_msg", payload)),
		"AppendBroadcast/V2Binary": appending(tb, broadcast(v2, "room:lobby", "new_msg", data)),
		"AppendControl/V2":         appending(tb, control(v2, `"3"`, "room:lobby", "phx_close", text("{}"))),
	}
}

func TestAllocations(t *testing.T) {
	for name, run := range hotPath(t) {
		run()
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
	for name, payload := range payloads() {
		buffer := make([]byte, len(payload))
		n := testing.AllocsPerRun(100, func() {
			copy(buffer, payload)
			if _, err := Validate(buffer); err != nil {
				t.Fatal(name, err)
			}
		})
		if n != 0 {
			t.Errorf("Validate of %s: %v allocations, want none", name, n)
		}
	}
}
