package channels

import "testing"

// Nothing of one client may be seen by the next.
func TestHelloIsUsedAgainEmpty(t *testing.T) {
	h := new(hello)
	first := "GET /s/websocket?token=secret&a[b]=1 HTTP/1.1\r\nHost: a\r\nCookie: c=1\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 3\r\n\r\n"
	if err := h.head.Parse([]byte(first)); err != nil {
		t.Fatal(err)
	}
	r := h.connectRequest(true)
	if r.Params.Get("token") != "secret" || len(r.Header["X-A"]) != 2 || r.URL.Scheme != "https" {
		t.Fatalf("first request %+v", r)
	}
	cookie := r.Header.Get("Cookie")
	r.authToken = &cookie
	if !h.reset() {
		t.Fatal("a small hello is not used again")
	}
	if err := h.head.Parse([]byte("GET /t HTTP/1.0\r\nHost: b\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	r = h.connectRequest(false)
	if len(r.Params) != 0 || len(r.Header) != 1 || r.Header.Get("Host") != "b" || r.URL.String() != "http://b/t" {
		t.Errorf("second request %+v, %v", r, r.URL)
	}
	if _, ok := r.AuthToken(); ok || h.head.ContentLength != 0 || h.head.Proto != "HTTP/1.0" {
		t.Errorf("second head %+v", h.head)
	}
	if cookie != "c=1" {
		t.Errorf("a string that was kept is %q now", cookie)
	}
}

// The maps of what is not used again would stay large.
func TestHelloWithMuchIsDropped(t *testing.T) {
	h := hello{params: make(Params)}
	for i := range maxReused + 1 {
		h.params[string(rune('a'+i))] = "v"
	}
	if h.reset() {
		t.Error("a hello with many parameters is used again")
	}
}
