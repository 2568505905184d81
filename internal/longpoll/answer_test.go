package longpoll

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestAppendStatus(t *testing.T) {
	if got := string(AppendStatus([]byte("x"), 410)); got != `x{"status":410}` {
		t.Errorf("got %s", got)
	}
}

func TestAppendPoll(t *testing.T) {
	for want, got := range map[string][]byte{
		`{"status":410,"token":"abc","messages":[]}`: AppendPoll(nil, 410, "abc", nil),
		`{"status":200,"token":"a-_","messages":["[\"1\",null]","\u0000\u001f\n\\","ä😀\ufffd\ufffdz"]}`: AppendPoll(nil, 200, "a-_",
			[][]byte{[]byte(`["1",null]`), []byte("\x00\x1f\n\\"), []byte("ä😀\xff\xc3z")}),
	} {
		if string(got) != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}

// A message arrives as it was, whatever is in it.
func FuzzAppendPoll(f *testing.F) {
	f.Add("[]", `["1","2","t","e",{"a":"\u0000"}]`)
	f.Add("\x7f\u2028</script>", "\xf0\x9f\x98")
	f.Fuzz(func(t *testing.T, a, b string) {
		answer := AppendPoll(nil, 200, "token", [][]byte{[]byte(a), []byte(b)})
		var got struct {
			Status   int
			Token    string
			Messages []string
		}
		if err := json.Unmarshal(answer, &got); err != nil {
			t.Fatalf("%q: %v", answer, err)
		}
		want := []string{replaceInvalid(a), replaceInvalid(b)}
		if got.Status != 200 || got.Token != "token" || len(got.Messages) != 2 || got.Messages[0] != want[0] || got.Messages[1] != want[1] {
			t.Errorf("%+q, want %+q", got.Messages, want)
		}
	})
}

// replaceInvalid replaces each wrong byte, not each run of them.
func replaceInvalid(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
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
