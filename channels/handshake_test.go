package channels

import (
	"sync"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/forward"
	"github.com/mycelium-rt/mycelium/internal/front"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// The next client must not see anything of the previous one.
func TestHandshakeIsReusedEmpty(t *testing.T) {
	e, err := NewEndpoint(Options{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Shutdown(t.Context())
	m := e.newMount("/s", SocketOptions{}, &e.limits, nil)
	newHandshake := func(head string, secure bool) *handshake {
		r, err := websocket.ParseRequest([]byte(head))
		if err != nil {
			t.Fatal(err)
		}
		from := front.Client{Secure: secure}
		if secure {
			from.Certificate = &forward.Certificate{Subject: "CN=ada"}
		}
		return m.NewHandshake(r, from).(*handshake)
	}
	h := newHandshake("GET /s/websocket?token=secret&a[b]=1 HTTP/1.1\r\nHost: a\r\n\r\n", true)
	if r := &h.request; r.Params.Get("token") != "secret" || r.Certificate.Subject != "CN=ada" || r.URL.String() != "https://a/s/websocket?token=secret&a[b]=1" {
		t.Fatalf("first request %+v", r)
	}
	token := "abc"
	h.request.authToken = &token
	first := h.conn
	if !h.reset() || h.conn != nil {
		t.Fatal("a small handshake is not used again")
	}
	handshakes = sync.Pool{New: func() any { return h }}
	defer func() { handshakes = sync.Pool{New: func() any { return new(handshake) }} }()
	h = newHandshake("GET /t HTTP/1.0\r\nHost: b\r\n\r\n", false)
	if r := &h.request; len(r.Params) != 0 || r.Certificate != nil || len(r.Header) != 1 || r.URL.String() != "http://b/t" {
		t.Errorf("second request %+v, %v", r, r.URL)
	}
	if _, ok := h.request.AuthToken(); ok || h.conn == first {
		t.Errorf("second handshake %+v", h)
	}
}

// A handshake with many parameters is not reused, because its map would stay large.
func TestLargeHandshakeIsDropped(t *testing.T) {
	h := handshake{params: make(Params)}
	for i := range maxReusedParams + 1 {
		h.params[string(rune('a'+i))] = "v"
	}
	if h.reset() {
		t.Error("a handshake with many parameters is used again")
	}
}
