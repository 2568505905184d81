package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// The answers are those of the recordings with these names, or the better ones
// that their list of defects allows.
func TestCheckUpgrade(t *testing.T) {
	for _, c := range []struct {
		name   string
		edits  []string
		status int // 0: accepted
	}{
		{"handshake_ok", nil, 0},
		{"handshake_post_upgrade", []string{"POST / HTTP/1.1", "Content-Length: 0"}, 400},
		{"handshake_head", []string{"HEAD / HTTP/1.1", "Upgrade", "Connection"}, 400},
		{"handshake_http_1_0", []string{"GET / HTTP/1.0"}, 400},
		{"handshake_plain_get", []string{"Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"}, 400},
		{"handshake_no_connection_header", []string{"Connection"}, 400},
		{"handshake_no_upgrade_header", []string{"Upgrade"}, 400},
		{"handshake_upgrade_other", []string{"Upgrade: h2c"}, 400},
		{"handshake_no_version", []string{"Sec-WebSocket-Version"}, 400},
		{"handshake_version_8", []string{"Sec-WebSocket-Version: 8"}, 426},
		{"two versions", []string{"Sec-WebSocket-Version: 13", "sec-websocket-version: 13"}, 426},
		{"no key", []string{"Sec-WebSocket-Key"}, 400},
		{"handshake_bad_key", []string{"Sec-WebSocket-Key: short"}, 400},
		{"key of 17 bytes", []string{"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA="}, 400},
		{"key of 18 bytes", []string{"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA"}, 400},
		{"key not base64", []string{"Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!=="}, 400},
		{"two keys", []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="}, 400},
		{"connection list", []string{"Connection: keep-alive, Upgrade"}, 0},
		{"connection lines", []string{"Connection: keep-alive", "connection: upgrade"}, 0},
		{"upgrade list", []string{"Upgrade: h2c, WebSocket"}, 0},
		{"connection list with a tab", []string{"Connection: keep-alive,\tUpgrade"}, 0},
		{"upgrade list with tabs", []string{"Upgrade: h2c\t,\twebsocket\t"}, 0},
		{"connection of another word", []string{"Connection: keep-alive, Upgrades"}, 400},
		{"any case", []string{"CONNECTION: UPGRADE", "Connection", "UPGRADE: WebSocket", "Upgrade"}, 0},
		{"body", []string{"Content-Length: 5"}, 400},
		{"chunked body", []string{"Transfer-Encoding: chunked"}, 400},
		{"empty body", []string{"Content-Length: 0"}, 0},
		{"a long head", []string{"Cookie: " + strings.Repeat("x", 9000)}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			head := []byte(goodHead(c.edits...))
			r, err := ParseRequest(head)
			if err != nil {
				t.Fatal(err)
			}
			if wants := r.WantsUpgrade(); c.status == 0 && !wants || c.name == "handshake_plain_get" && wants {
				t.Errorf("WantsUpgrade is %v", wants)
			}
			err = r.CheckUpgrade()
			if c.status == 0 {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				accepted := AppendAccept([]byte("before "), Accept{Key: r.Key()})
				if want := "before " + plain101 + "\r\n"; string(accepted) != want {
					t.Errorf("answer %q, want %q", accepted, want)
				}
				return
			}
			var refused *HandshakeError
			if !errors.As(err, &refused) || refused.Status != c.status || refused.Reason == "" {
				t.Errorf("%v, want status %d", err, c.status)
			}
		})
	}
}

const plain101 = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

func TestProtocols(t *testing.T) {
	for offer, want := range map[string][]string{
		"phoenix, base64url.bearer.phx.Pz8+Pn5+w7/Dvw": {"phoenix", "base64url.bearer.phx.Pz8+Pn5+w7/Dvw"},
		"base64url.bearer.phx.bXkgc2VjcmV0, phoenix":   {"base64url.bearer.phx.bXkgc2VjcmV0", "phoenix"},
		"chat\r\nSec-WebSocket-Protocol: phoenix":      {"chat", "phoenix"},
		" , a,,\tb ,": {"a", "b"},
		"":            nil,
	} {
		head := []byte(strings.Replace(goodHead(), "\r\n\r\n", "\r\nSec-WebSocket-Protocol: "+offer+"\r\n\r\n", 1))
		r, err := ParseRequest(head)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Protocols(); !slices.Equal(got, want) {
			t.Errorf("%q offers %q", offer, got)
		}
	}
	got := string(AppendAccept(nil, Accept{Key: "dGhlIHNhbXBsZSBub25jZQ==", Protocol: "phoenix"}))
	if want := plain101 + "Sec-WebSocket-Protocol: phoenix\r\n\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A request that another net/http server has read is held to the same rules.
func TestFromHTTP(t *testing.T) {
	for _, c := range []struct {
		name   string
		edits  []string
		status int // 0: accepted
	}{
		{"good", nil, 0},
		{"chunked body", []string{"Transfer-Encoding: chunked"}, 400},
		{"body", []string{"Content-Length: 5"}, 400},
		{"host", []string{"Host: x:y"}, 400},
		{"no upgrade", []string{"Upgrade"}, 400},
		{"version", []string{"Sec-WebSocket-Version: 8"}, 426},
		{"tab", []string{"Connection: keep-alive,\tUpgrade"}, 0},
		{"many fields", []string{strings.Repeat("X: y\r\n", 94) + "Y: z"}, 0},
		{"too many fields", []string{strings.Repeat("X: y\r\n", 95) + "Y: z"}, 431},
		{"NUL", []string{"GET /%00 HTTP/1.1"}, 400},
	} {
		std, err := http.ReadRequest(bufio.NewReader(strings.NewReader(goodHead(c.edits...))))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		r, err := FromHTTP(std)
		if err == nil {
			err = r.CheckUpgrade()
		}
		status := 0
		var refused *HandshakeError
		if errors.As(err, &refused) {
			status = refused.Status
		}
		if status != c.status {
			t.Errorf("%s: %v, want status %d", c.name, err, c.status)
		}
	}
	std, err := http.ReadRequest(bufio.NewReader(strings.NewReader(goodHead("GET //socket/%77ebsocket%2Fx/?vsn=2.0.0 HTTP/1.1"))))
	if err != nil {
		t.Fatal(err)
	}
	r, err := FromHTTP(std)
	if err != nil || r.Path != "/socket/websocket%2Fx" || r.RawQuery != "vsn=2.0.0" || r.Host != "localhost:4000" || r.Key() != "dGhlIHNhbXBsZSBub25jZQ==" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestAppendRefusal(t *testing.T) {
	header := http.Header{"X-Reason": {"a\r\nInjected: b"}, "Content-Length": {"99"}, "Connection": {"keep-alive"}}
	b := AppendRefusal([]byte{}, 403, header, []byte("no"))
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "no" || resp.StatusCode != 403 || !resp.Close || resp.ContentLength != 2 {
		t.Errorf("%q: %+v, body %q, %v", b, resp, body, err)
	}
	if resp.Header.Get("Injected") != "" || resp.Header.Get("X-Reason") == "" {
		t.Errorf("header %q", resp.Header)
	}
	if got, want := string(AppendRefusal(nil, 403, nil, nil)), "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestRefusalHeaders(t *testing.T) {
	if h := (&HandshakeError{Status: 426}).Header(); h.Get("Sec-WebSocket-Version") != "13" || h.Get("Upgrade") != "websocket" {
		t.Errorf("426 has %q", h)
	}
	if h := (&HandshakeError{Status: 400}).Header(); len(h) != 1 {
		t.Errorf("400 has %q", h)
	}
}
