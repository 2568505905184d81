package websocket

import (
	"bufio"
	"bytes"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// goodHead is the handshake of RFC 6455, 1.3, in phoenix.js's words. Each of
// edits is "Name: value" to replace or add a header, "Name" to leave it out,
// or a request line.
func goodHead(edits ...string) string {
	line := "GET /socket/websocket?vsn=2.0.0 HTTP/1.1"
	lines := []string{
		"Host: localhost:4000", "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}
	for _, edit := range edits {
		if strings.Contains(edit, " HTTP/") {
			line = edit
			continue
		}
		name, _, hasValue := strings.Cut(edit, ":")
		lines = slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, name+":") })
		if hasValue {
			lines = append(lines, edit)
		}
	}
	return line + "\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func TestHeadEnd(t *testing.T) {
	head := goodHead()
	b := []byte(head + "early frames\r\n\r\n")
	if got := HeadEnd(b, 0); got != len(head) {
		t.Errorf("whole: %d, want %d", got, len(head))
	}
	for cut := range b {
		want := -1
		if cut >= len(head) {
			want = len(head)
		}
		if got := HeadEnd(b[:cut], 0); got != want {
			t.Errorf("%d bytes: %d, want %d", cut, got, want)
		}
		if cut < len(head) {
			if got := HeadEnd(b, cut); got != len(head) {
				t.Errorf("continued from %d: %d, want %d", cut, got, len(head))
			}
		}
	}
	for in, want := range map[string]int{
		"": -1, "\r\n\r\n": 4, "a\n\n": 3, "a\n\r\n": 4, "a\r\n\r": -1, "a\r\r\n": -1, "a\r\n\r\n\r\n": 5,
	} {
		if got := HeadEnd([]byte(in), 0); got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
}

func TestParseRequest(t *testing.T) {
	head := []byte(goodHead("x-test:  a, b \t", "COOKIE: one", "Cookie: two", "Origin: http://example.com"))
	kept := bytes.Clone(head)
	r, err := ParseRequest(head)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(head, kept) {
		t.Error("the head is modified")
	}
	for i := range head {
		head[i] = '!' // the loop reuses its scratch
	}
	want := Request{
		Method: "GET", Target: "/socket/websocket?vsn=2.0.0", Path: "/socket/websocket", RawQuery: "vsn=2.0.0",
		Proto: "HTTP/1.1", Host: "localhost:4000",
	}
	if r.Method != want.Method || r.Target != want.Target || r.Path != want.Path || r.RawQuery != want.RawQuery ||
		r.Proto != want.Proto || r.Host != want.Host || r.ContentLength != 0 {
		t.Errorf("%+v", r)
	}
	for name, values := range map[string][]string{
		"X-Test": {"a, b"}, "Cookie": {"one", "two"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	} {
		if got := r.Header[name]; !slices.Equal(got, values) {
			t.Errorf("%s is %q, want %q", name, got, values)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for _, c := range []struct{ line, path, query, host string }{
		{"GET / HTTP/1.1", "/", "", "h"},
		{"GET /? HTTP/1.1", "/", "", "h"},
		{"GET /a?b?c HTTP/1.1", "/a", "b?c", "h"},
		{"GET /socket/%77ebsocket?vsn=2.0.0 HTTP/1.1", "/socket/websocket", "vsn=2.0.0", "h"},
		{"GET //socket//websocket HTTP/1.1", "/socket/websocket", "", "h"},
		{"GET /socket/websocket/ HTTP/1.1", "/socket/websocket", "", "h"},
		{"GET //// HTTP/1.1", "/", "", "h"},
		{"GET /a%2fb%2F/%c3%a9 HTTP/1.1", "/a%2Fb%2F/é", "", "h"},
		{"GET /a%3Fb?c%3F HTTP/1.1", "/a?b", "c%3F", "h"},
		{"GET /a/../b/./c HTTP/1.1", "/a/../b/./c", "", "h"},
		{"GET http://example.com/socket?x=1 HTTP/1.1", "/socket", "x=1", "example.com"},
		{"GET WS://example.com:80?x HTTP/1.1", "/", "x", "example.com:80"},
		{"OPTIONS * HTTP/1.1", "*", "", "h"},
		{"CONNECT example.com:443 HTTP/1.1", "", "", "h"},
		{"GET /old HTTP/1.0", "/old", "", "h"},
	} {
		r, err := ParseRequest([]byte(c.line + "\r\nHost: h\r\n\r\n"))
		if err != nil {
			t.Errorf("%s: %v", c.line, err)
			continue
		}
		if r.Path != c.path || r.RawQuery != c.query || r.Host != c.host {
			t.Errorf("%s: %q %q %q", c.line, r.Path, r.RawQuery, r.Host)
		}
	}
}

func TestBadRequests(t *testing.T) {
	for name, c := range map[string]struct {
		head   string
		status int
	}{
		"empty":                 {"\r\n\r\n", 400},
		"nothing":               {"", 400},
		"no target":             {"GET HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"no version":            {"GET /\r\nHost: h\r\n\r\n", 400},
		"two spaces":            {"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"four parts":            {"GET / x HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"odd version":           {"GET / HTTP/1.:\r\nHost: h\r\n\r\n", 400},
		"long version":          {"GET / HTTP/1.11\r\nHost: h\r\n\r\n", 400},
		"HTTP/2":                {"PRI * HTTP/2.0\r\n\r\n", 505},
		"method":                {"G(T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"relative target":       {"GET socket HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"star for GET":          {"GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"other scheme":          {"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"no authority":          {"GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"fragment":              {"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"NUL in target":         {"GET /a\x00 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"tab in target":         {"GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"bad percent":           {"GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"cut percent":           {"GET /%4 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"encoded NUL":           {"GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
		"bare LF lines":         {"GET / HTTP/1.1\nHost: h\n\n", 400},
		"bare LF at the end":    {"GET / HTTP/1.1\r\nHost: h\r\n\n", 400},
		"bare LF in header":     {"GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", 400},
		"bare CR in header":     {"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", 400},
		"bare CR at line end":   {"GET / HTTP/1.1\r\nHost: h\r\r\n\r\n", 400},
		"bare CR in line":       {"GET / HTTP/1.1\r\r\nHost: h\r\n\r\n", 400},
		"NUL in header":         {"GET / HTTP/1.1\r\nHost: h\r\nX: \x00\r\n\r\n", 400},
		"folded":                {"GET / HTTP/1.1\r\nHost: h\r\nX: y\r\n z\r\n\r\n", 400},
		"folded first":          {"GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400},
		"space before colon":    {"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400},
		"space in name":         {"GET / HTTP/1.1\r\nHost: h\r\nX Y: z\r\n\r\n", 400},
		"no colon":              {"GET / HTTP/1.1\r\nHost: h\r\nX\r\n\r\n", 400},
		"no name":               {"GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", 400},
		"no Host":               {"GET / HTTP/1.1\r\nX: y\r\n\r\n", 400},
		"two Hosts":             {"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400},
		"no blank line":         {"GET / HTTP/1.1\r\nHost: h\r\n", 400},
		"bytes after":           {"GET / HTTP/1.1\r\nHost: h\r\n\r\nx", 400},
		"length not a number":   {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\n", 400},
		"length negative":       {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n", 400},
		"two lengths":           {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
		"length and encoding":   {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"encoding in HTTP/1.0":  {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"length beyond 63 bits": {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 9223372036854775808\r\n\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ParseRequest([]byte(c.head))
			var refused *HandshakeError
			if !errors.As(err, &refused) || refused.Status != c.status || refused.Reason == "" {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

func TestContentLength(t *testing.T) {
	for header, want := range map[string]int64{
		"X: y": 0, "Content-Length: 0": 0, "Content-Length: 17": 17, "Transfer-Encoding: chunked": -1,
		"Content-Length: 5\r\nContent-Length: 5": 5,
	} {
		r, err := ParseRequest([]byte("POST / HTTP/1.1\r\nHost: h\r\n" + header + "\r\n\r\n"))
		if err != nil || r.ContentLength != want {
			t.Errorf("%q: %v, %v", header, r, err)
		}
	}
}

func TestCheckQuery(t *testing.T) {
	for query, ok := range map[string]bool{
		"": true, "vsn=2.0.0&a=1&b[c]=2&d[]=1&e=%C3%A9+x": true, "a=é": true, "%f0%9f%92%a7": true,
		"vsn=2.0.0&a=%ff": false, "a=%C3": false, "a=%C3&b=%A9": false, "a=%zz": true, "a=%4": true, "a=%": true,
		"a=%00": true, "a=\xff": false, "a=\xc3%A9": true, "a=%e2%82": false, "a=%C3%": false, "%%41%": true,
	} {
		if err := CheckQuery(query); (err == nil) != ok {
			t.Errorf("%q: %v", query, err)
		}
	}
}

func TestDecodeQuery(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "plain": "plain", "a+b%20c": "a b c", "%zz": "%zz", "50%": "50%", "%4": "%4", "%%41": "%A", "%C3%A9": "é", "%2525": "%25",
	} {
		if got := DecodeQuery(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestHosts(t *testing.T) {
	for host, ok := range map[string]bool{
		"": true, "example.com": true, "example.com:4000": true, "example.com:": true, "10.0.0.1:80": true, "a_b-c.example": true,
		"[::1]": true, "[::1]:4000": true, "[0:0:0:0:0:0:0:1]:5100": true, "[fe80::1%25eth0]:1": true, "xn--bcher-kva.example": true,
		"x y": false, "x\ty": false, "a@b": false, "a/b": false, "a:b": false, "a:1:2": false, "::1": false, "[::1": false, "[::1]x": false,
		"[::1]:x": false, "[1.2.3.4]": false, "[x]": false, "x:123456": false, "bücher.example": false, "a\"b": false, "<x>": false,
	} {
		_, err := ParseRequest([]byte("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n"))
		if (err == nil) != ok {
			t.Errorf("Host %q: %v", host, err)
		}
		if host == "" || strings.ContainsAny(host, " \t/") {
			continue
		}
		_, err = ParseRequest([]byte("GET http://" + host + "/ HTTP/1.1\r\nHost: x\r\n\r\n"))
		if (err == nil) != ok {
			t.Errorf("target with %q: %v", host, err)
		}
	}
}

func TestFieldCount(t *testing.T) {
	for n, status := range map[int]int{MaxFields - 1: 0, MaxFields: 431, 5000: 431} {
		_, err := ParseRequest([]byte("GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("A:\r\n", n) + "\r\n"))
		var refused *HandshakeError
		if status == 0 && err != nil || status != 0 && (!errors.As(err, &refused) || refused.Status != status) {
			t.Errorf("%d fields beside Host: %v", n, err)
		}
	}
}

// FuzzParseRequest holds ParseRequest against net/http: what it takes, net/http
// takes and reads the same, because the rest of the port's requests go there.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(goodHead()))
	f.Add([]byte("\r\n" + goodHead("GET //a%2F%20b/ HTTP/1.0", "Host")))
	f.Add([]byte(goodHead("POST http://h/x?y HTTP/1.1", "Content-Length: 5", "X: \xff\t")))
	f.Add([]byte("OPTIONS * HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Add([]byte("CONNECT h:1 HTTP/1.1\r\nHost: h\r\nConnection: keep-alive,\r\nConnection: Upgrade\r\n\r\n"))
	f.Add([]byte("GET / HTTP/1.1\nHost: h\r\n folded\r\n\r\n"))
	f.Fuzz(func(t *testing.T, head []byte) {
		kept := bytes.Clone(head)
		r, err := ParseRequest(head)
		if !bytes.Equal(head, kept) {
			t.Fatal("the head is modified")
		}
		var refused *HandshakeError
		if err != nil && !errors.As(err, &refused) {
			t.Fatalf("not a HandshakeError: %v", err)
		}
		if err != nil {
			return
		}
		if end := HeadEnd(head, 0); end != len(head) && !bytes.HasPrefix(head, crlf) {
			t.Fatalf("HeadEnd is %d of %d", end, len(head))
		}
		if upgradeErr := r.CheckUpgrade(); upgradeErr == nil {
			if !bytes.HasPrefix(AppendAccept(nil, Accept{Key: r.Key()}), []byte("HTTP/1.1 101 ")) {
				t.Fatal("checked but not accepted")
			}
		}
		compareWithNetHTTP(t, r, head)
	})
}

func compareWithNetHTTP(t *testing.T, r *Request, head []byte) {
	std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(bytes.TrimPrefix(head, crlf))))
	if err != nil {
		return // stricter than we in some corner, and it will say so itself
	}
	if r.Method != std.Method || r.Target != std.RequestURI || r.ContentLength != std.ContentLength && std.Method != "CONNECT" {
		t.Fatalf("%q: we read %+v, net/http %+v", head, r, std)
	}
	ours := r.Header.Clone()
	for _, name := range []string{"Host", "Transfer-Encoding", "Content-Length", "Trailer", "Connection", "Pragma", "Cache-Control"} {
		delete(ours, name) // net/http takes these out or changes them
		delete(std.Header, name)
	}
	if !maps.EqualFunc(ours, std.Header, slices.Equal) {
		t.Fatalf("%q: we read %q, net/http %q", head, ours, std.Header)
	}
}
