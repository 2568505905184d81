package longpoll

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

const ndjson = "application/x-ndjson"

// show writes messages as t:text and b:hex, one behind the other.
func show(messages []Message) string {
	var b strings.Builder
	for _, m := range messages {
		if m.Binary {
			fmt.Fprintf(&b, "b:%x ", m.Data)
		} else {
			fmt.Fprintf(&b, "t:%s ", m.Data)
		}
	}
	return strings.TrimSuffix(b.String(), " ")
}

func TestParseBody(t *testing.T) {
	for _, c := range []struct{ name, contentType, body, want string }{
		{"one", "application/json", `["1"]`, `t:["1"]`},
		{"one of two lines", "application/json", "[1]\n[2]", "t:[1]\n[2]"},
		{"one, empty", "application/json", "", "t:"},
		{"one, no type", "", "{}", "t:{}"},
		{"one, odd type", "application/x-ndjson-not", "AA==", "t:AA=="},
		{"two", ndjson, "[1]\n[2]", "t:[1] t:[2]"},
		{"CR LF", ndjson, "[1]\r\n[2]\r\n", "t:[1] t:[2]"},
		{"empty lines", ndjson, "\n\n[1]\n\r\n \n", "t:[1]"},
		{"no lines", ndjson, "", ""},
		{"objects", ndjson, `{"a":1}` + "\n[2]", `t:{"a":1} t:[2]`},
		{"bytes", ndjson, "AAH/\n[1]\nYQ==", "b:0001ff t:[1] b:61"},
		{"white space", ndjson, " [1] \n\tYQ==\t", "t:[1] b:61"},
		{"charset", "application/x-ndjson; charset=utf-8", "[1]\n[2]", "t:[1] t:[2]"},
		{"upper case", "Application/X-NDJSON", "[1]\n[2]", "t:[1] t:[2]"},
		{"broken parameter", "application/x-ndjson; charset", "[1]\n[2]", "t:[1] t:[2]"},
	} {
		got, err := ParseBody(c.contentType, []byte(c.body), 1000)
		if err != nil || show(got) != c.want {
			t.Errorf("%s: %q, %v; want %q", c.name, show(got), err, c.want)
		}
	}
}

func TestParseBodyRefuses(t *testing.T) {
	for _, c := range []struct {
		name, contentType, body string
		want                    error
	}{
		{"words", ndjson, "*** no base64 ***", ErrBase64},
		{"after a good line", ndjson, "[1]\nYQ", ErrBase64},
		{"the alphabet of URLs", ndjson, "_-_-", ErrBase64},
		{"text too large", "application/json", strings.Repeat("x", 11), ErrTooLarge},
		{"line too large", ndjson, "[1]\n[" + strings.Repeat("x", 10), ErrTooLarge},
		{"bytes too large", ndjson, base64.StdEncoding.EncodeToString(make([]byte, 11)), ErrTooLarge},
		{"too many", ndjson, strings.Repeat("[]\n", MaxBatch+1), ErrTooLarge},
	} {
		if got, err := ParseBody(c.contentType, []byte(c.body), 10); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: %d messages, %v; want %v", c.name, len(got), err, c.want)
		}
	}
	if _, err := ParseBody(ndjson, []byte(base64.StdEncoding.EncodeToString(make([]byte, 10))), 10); err != nil {
		t.Errorf("bytes at the limit: %v", err)
	}
	got, err := ParseBody(ndjson, []byte(strings.Repeat("[]\n", MaxBatch)), 10)
	if err != nil || len(got) != MaxBatch {
		t.Errorf("as many as there may be: %d, %v", len(got), err)
	}
}

// Whatever is taken, written again, is the same.
func FuzzParseBody(f *testing.F) {
	for _, body := range []string{"", "[1]\n{}\r\nAAH/\n", "YQ==", "\n\n\r", "[\n", " [1]\t\n==", "{\x00\xff}"} {
		f.Add(body, ndjson)
	}
	f.Add("[1]\n", "application/x-ndjson;charset=\"")
	f.Fuzz(func(t *testing.T, body, contentType string) {
		const limit = 100
		messages, err := ParseBody(contentType, []byte(body), limit)
		if err != nil {
			if messages != nil {
				t.Error("an error, and messages")
			}
			return
		}
		var again bytes.Buffer
		for _, m := range messages {
			if len(m.Data) > limit {
				t.Errorf("message of %d bytes at a limit of %d", len(m.Data), limit)
			}
			if m.Binary {
				again.WriteString(base64.StdEncoding.EncodeToString(m.Data))
			} else {
				again.Write(m.Data)
			}
			again.WriteByte('\n')
		}
		if !isBatch(contentType) {
			if len(messages) != 1 || messages[0].Binary || string(messages[0].Data) != body {
				t.Errorf("%q is %s", body, show(messages))
			}
			return
		}
		second, err := ParseBody(ndjson, again.Bytes(), limit)
		if err != nil || show(second) != show(messages) {
			t.Errorf("%q: %s, and again %s, %v", body, show(messages), show(second), err)
		}
	})
}
