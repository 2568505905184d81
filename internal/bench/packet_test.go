package bench

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestPackets(t *testing.T) {
	if got := string(appendPacket([]byte("x"), opText, []byte("[]"))); got != "x\x00\x00\x00\x03\x01[]" {
		t.Errorf("%q", got)
	}
	for text, want := range map[string]frameHead{
		"\x00\x00\x00\x03":     {},
		"\x00\x00\x00\x03\x01": {op: opText, final: true, size: 5, length: 2},
		"\x00\x01\x00\x00\x0a": {op: opPong, final: true, size: 5, length: 65535},
	} {
		if h, err := readPacketHead([]byte(text)); h != want || err != nil {
			t.Errorf("%q: %+v, %v; want %+v", text, h, err, want)
		}
	}
	for _, text := range []string{"\x00\x00\x00\x00\x01", "HTTP/1.1 400"} {
		if _, err := readPacketHead([]byte(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestConnectRequest(t *testing.T) {
	o := &Options{TCP: true, Params: []string{"user=u {n}"}, Headers: []string{"X-Lane: {n}"}, AuthToken: "secret"}
	got, err := findTarget(t.Context(), o, "ws://127.0.0.1:4001/socket")
	if err != nil {
		t.Fatal(err)
	}
	var body any
	if err := json.Unmarshal(newPattern(got.Request).append(nil, 42), &body); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"path": "/socket/websocket?user=u+42&vsn=2.0.0", "headers": map[string]any{"X-Lane": "42"}, "token": "secret",
	}
	if !reflect.DeepEqual(body, want) {
		t.Errorf("%v, want %v", body, want)
	}
	if reason := refusedReason([]byte("\x01\xf7\x00\x02full")); reason != `the server answered "503 Service Unavailable: full"` {
		t.Error(reason)
	}
}
