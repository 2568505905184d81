package bench

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
)

func TestFindTarget(t *testing.T) {
	o := &Options{Params: []string{"user=u {n}"}, Headers: []string{"X-Lane: {n}"}, AuthToken: "secret"}
	for raw, path := range map[string]string{
		"ws://127.0.0.1:4000/socket":            "/socket/websocket",
		"ws://127.0.0.1:4000/socket/":           "/socket/websocket",
		"ws://127.0.0.1:4000/socket?vsn=2.0.0":  "/socket/websocket",
		"wss://127.0.0.1:4000/socket/websocket": "/socket/websocket",
		"ws://127.0.0.1:4000":                   "/websocket",
	} {
		got, err := findTarget(t.Context(), o, raw)
		if err != nil || got.Addr.String() != "127.0.0.1:4000" || (got.ServerName == "127.0.0.1") != strings.HasPrefix(raw, "wss") {
			t.Errorf("%s: %v, %v", raw, got.Addr, err)
			continue
		}
		text := string(newPattern(got.Request).append(nil, 42))
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			t.Errorf("%s: %v in %s", raw, err, text)
			continue
		}
		if req.URL.Path != path || req.URL.Query().Get("vsn") != "2.0.0" || req.URL.Query().Get("user") != "u 42" ||
			req.Header.Get("X-Lane") != "42" || req.Header.Get("Sec-WebSocket-Protocol") != "phoenix, base64url.bearer.phx.c2VjcmV0" {
			t.Errorf("%s: %s", raw, text)
		}
	}
}

func TestFindTargetErrors(t *testing.T) {
	for raw, want := range map[string]string{
		"127.0.0.1:4000":                  "is not the URL of a socket, such as ws://",
		"http://127.0.0.1/socket":         "does not start with ws:// or wss://",
		"ws://127.0.0.1:0/socket":         "a port from 1 to 65535",
		"ws://:4000/socket":               "is not the URL of a socket, such as ws://",
		"ws://192.0.2.1/socket":           "192.0.2.1 is not an address of this machine; add --remote",
		"ws://127.0.0.1/socket?vsn=1.0.0": "asks for version 1.0.0; bench speaks only 2.0.0",
	} {
		if _, err := findTarget(t.Context(), new(Options), raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", raw, err, want)
		}
	}
	for raw, port := range map[string]uint16{"ws://192.0.2.1/socket": 80, "wss://192.0.2.1/socket": 443} {
		got, err := findTarget(t.Context(), &Options{Remote: true}, raw)
		if err != nil || got.Addr.Port() != port {
			t.Errorf("%s with --remote: %v, %v", raw, got.Addr, err)
		}
	}
}
