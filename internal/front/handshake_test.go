package front

import (
	"strconv"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/websocket"
)

func parse(t *testing.T, h *websocket.Request, head string) {
	t.Helper()
	if err := h.Parse([]byte(head)); err != nil {
		t.Fatal(err)
	}
}

// Nothing of one client may be seen by the next.
func TestHeadIsReusedEmpty(t *testing.T) {
	for _, reuse := range []bool{true, false} {
		h := new(websocket.Request)
		parse(t, h, "GET /s?a=1 HTTP/1.1\r\nHost: a\r\nCookie: c=1\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 3\r\n\r\n")
		header, cookie := h.Header, h.Header.Get("Cookie")
		resetHead(h, reuse)
		parse(t, h, "GET /t HTTP/1.0\r\nHost: b\r\n\r\n")
		if len(h.Header) != 1 || h.Header.Get("Host") != "b" || h.Path != "/t" || h.RawQuery != "" || h.ContentLength != 0 || h.Proto != "HTTP/1.0" {
			t.Errorf("second head %+v", h)
		}
		if cookie != "c=1" {
			t.Errorf("a string that was kept is %q now", cookie)
		}
		if !reuse && (header.Get("Cookie") != "c=1" || header.Get("Host") != "a") {
			t.Errorf("a header that was kept is %v now", header)
		}
	}
}

// A map that was large stays large.
func TestLargeHeaderIsDropped(t *testing.T) {
	h := new(websocket.Request)
	head := "GET / HTTP/1.1\r\nHost: a\r\n"
	for i := range maxReusedFields {
		head += "X-" + strconv.Itoa(i) + ": 1\r\n"
	}
	parse(t, h, head+"\r\n")
	if resetHead(h, true); h.Header != nil {
		t.Error("a head with many fields is used again with its map")
	}
}
