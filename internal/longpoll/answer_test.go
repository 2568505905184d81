package longpoll

import (
	"net/http"
	"testing"
)

func TestAppendStatus(t *testing.T) {
	if got := string(AppendStatus([]byte("x"), 410)); got != `x{"status":410}` {
		t.Errorf("got %s", got)
	}
}

// quoted is a message as a JSON string.
type quoted string

func (q quoted) AppendTo(dst []byte) []byte { return append(dst, q...) }

func TestAppendPoll(t *testing.T) {
	for want, got := range map[string][]byte{
		`{"status":410,"token":"abc","messages":[]}`:         AppendPoll[quoted](nil, 410, "abc", nil),
		`x{"status":200,"token":"a-_","messages":["a","b"]}`: AppendPoll([]byte("x"), 200, "a-_", []quoted{`"a"`, `"b"`}),
	} {
		if string(got) != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	h := make(http.Header)
	SetOpen(h)
	SetPreflight(h, []string{"content-type", "x-a, x-b"})
	SetJSON(h)
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "content-type, x-a, x-b",
		"Access-Control-Allow-Methods": "get, post, options", "Access-Control-Max-Age": "3600",
		"Cache-Control": "no-store", "Content-Type": "application/json; charset=utf-8",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	h = make(http.Header)
	if SetPreflight(h, nil); h.Values("Access-Control-Allow-Headers") != nil {
		t.Error("headers allowed that nobody asked for")
	}
}
