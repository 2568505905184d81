package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

func TestBody(t *testing.T) {
	for _, c := range []struct {
		length   int64
		in, body string // body is what belongs to it; "!" means an error
	}{
		{0, "GET", ""},
		{3, "abcGET", "abc"},
		{3, "ab", "ab"},
		{-1, "3\r\nabc\r\n0\r\n\r\nGET", "3\r\nabc\r\n0\r\n\r\n"},
		{-1, "00a;x=\"y\"\t;z\r\n0123456789\r\n0;last\r\nA: b\r\nC:\r\n\r\n\r\n", "00a;x=\"y\"\t;z\r\n0123456789\r\n0;last\r\nA: b\r\nC:\r\n\r\n"},
		{-1, "0\r\n\r\n", "0\r\n\r\n"},
		{-1, "3\nabc\r\n0\r\n\r\n", "!"},
		{-1, "3\r\nabc\n0\r\n\r\n", "!"},
		{-1, "3\r\nabcd\r\n0\r\n\r\n", "!"},
		{-1, "\r\n", "!"},
		{-1, "x\r\n", "!"},
		{-1, "-3\r\nabc\r\n", "!"},
		{-1, "0x3\r\nabc\r\n", "!"},
		{-1, " 3\r\nabc\r\n", "!"},
		{-1, "3 \r\nabc\r\n", "!"},
		{-1, "8000000000000000\r\n", "!"},
		{-1, "3;a\rb\r\nabc\r\n", "!"},
		{-1, "3;" + strings.Repeat("x", maxChunkLine) + "\r\nabc\r\n", "!"},
		{-1, "0\r\nno trailer\r\n\r\n", "!"},
		{-1, "0\r\nA: b\r\n folded\r\n\r\n", "!"},
		{-1, "0\r\n" + strings.Repeat("A: b\r\n", maxTrailers/6+1) + "\r\n", "!"},
	} {
		for _, cut := range []int{1, 2, 5, 1 << 20} { // however the bytes come
			b, in := NewBody(c.length), []byte(c.in)
			n, err := 0, error(nil)
			for n < len(in) && !b.Ended() && err == nil {
				var fed int
				fed, err = b.Feed(in[n:min(len(in), n+cut)])
				n += fed
			}
			var refused *HandshakeError
			switch {
			case c.body == "!" && !errors.As(err, &refused):
				t.Errorf("%.40q by %d: taken", c.in, cut)
			case c.body != "!" && (err != nil || string(in[:n]) != c.body):
				t.Errorf("%.40q by %d: %d bytes, %v", c.in, cut, n, err)
			}
		}
	}
}

// FuzzBody holds Body against net/http: a body that both take ends at the same
// byte, so that nobody can hide a request in one.
func FuzzBody(f *testing.F) {
	f.Add(int64(-1), []byte("3;x\r\nabc\r\n0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\n\r\n"))
	f.Add(int64(-1), []byte("0003\r\nabc\r\n000\r\n\r\n"))
	f.Add(int64(5), []byte("abcdefgh"))
	f.Add(int64(-1), []byte("1 ;x\r\na\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, length int64, in []byte) {
		b := NewBody(length)
		n, err := b.Feed(in)
		if err != nil || !b.Ended() {
			return
		}
		field := "Transfer-Encoding: chunked"
		if length >= 0 {
			field = "Content-Length: " + strconv.FormatInt(length, 10)
		}
		source := bytes.NewReader(append([]byte("POST / HTTP/1.1\r\nHost: h\r\n"+field+"\r\n\r\n"), in...))
		reader := bufio.NewReaderSize(source, 8192)
		r, err := http.ReadRequest(reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return // stricter than we in some corner: it ends the connection then
		}
		if rest := source.Len() + reader.Buffered(); rest != len(in)-n {
			t.Fatalf("%q: we leave %d bytes, net/http %d", in, len(in)-n, rest)
		}
	})
}
