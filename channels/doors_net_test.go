package channels_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// A door is a way in which a request reaches an endpoint.
var doors = map[string]func(t *testing.T, s *server) net.Conn{
	"first request": func(t *testing.T, s *server) net.Conn { return dialTCP(t, s.addr) },
	"later request": func(t *testing.T, s *server) net.Conn {
		c := dialTCP(t, s.addr)
		if status, _, _ := exchange(t, c, "GET /before HTTP/1.1\r\nHost: x\r\n\r\n"); status != 200 {
			t.Fatalf("the request before: %d", status)
		}
		return c
	},
	"mounted": func(t *testing.T, s *server) net.Conn {
		host := httptest.NewServer(s.Endpoint)
		t.Cleanup(host.Close)
		return dialTCP(t, host.Listener.Addr().String())
	},
}

func dialTCP(t *testing.T, addr string) net.Conn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Through every door a request gets the same answer.
func TestDoors(t *testing.T) {
	upgrade := func(edits ...string) string {
		r := socketHandshake()
		for i := 0; i < len(edits); i += 2 {
			r = strings.Replace(r, edits[i], edits[i+1], 1)
		}
		return r
	}
	tabs := upgrade("Connection: Upgrade", "Connection: keep-alive,\tUpgrade")
	deflate := upgrade("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate;\tclient_max_window_bits\r\n\r\n")
	requests := map[string]struct {
		request string
		status  int
		body    string // is in it
	}{
		"upgrade":                  {upgrade(), 101, ""},
		"percent sign":             {upgrade("vsn=2.0.0", "vsn=2.0.0&a=%zz&b=50%"), 101, ""},
		"query not UTF-8":          {upgrade("vsn=2.0.0", "vsn=2.0.0&a=%ff"), 400, ""},
		"tab in Connection":        {tabs, 101, ""},
		"tab in Extensions":        {deflate, 101, ""},
		"empty parts":              {upgrade("/socket/websocket", "//socket///websocket/"), 101, ""},
		"absolute":                 {upgrade("GET /", "GET http://x/"), 101, ""},
		"chunked upgrade":          {upgrade("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n"), 400, ""},
		"upgrade with a body":      {upgrade("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\n"), 400, ""},
		"host":                     {upgrade("Host: ", "Host: x y"), 400, ""},
		"many fields":              {upgrade("\r\n\r\n", "\r\n"+strings.Repeat("X: y\r\n", 100)+"\r\n"), 431, ""},
		"upgrade by HTTP/1.0":      {upgrade("HTTP/1.1", "HTTP/1.0"), 400, ""},
		"HEAD of a socket":         {upgrade("GET ", "HEAD "), 400, ""},
		"poll":                     {"GET /socket/longpoll?vsn=2.0.0 HTTP/1.1\r\nHost: x\r\n\r\n", 200, `"status":410`},
		"poll with a percent sign": {"GET /socket/longpoll?vsn=2.0.0&a=%zz HTTP/1.1\r\nHost: x\r\n\r\n", 200, `"status":410`},
		"poll, empty parts":        {"GET //socket//longpoll/?vsn=2.0.0 HTTP/1.1\r\nHost: x\r\n\r\n", 200, `"status":410`},
		"poll by HTTP/1.0":         {"GET /socket/longpoll?vsn=2.0.0 HTTP/1.0\r\nHost: x\r\n\r\n", 200, `"status":410`},
		"page":                     {"GET /x?y HTTP/1.1\r\nHost: x\r\n\r\n", 200, "GET /x?y"},
		"page by HTTP/1.0":         {"GET /x HTTP/1.0\r\n\r\n", 200, "GET /x"},
		"absolute page":            {"GET http://y/x HTTP/1.1\r\nHost: x\r\n\r\n", 200, "GET /x"},
		"HEAD of a page":           {"HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n", 200, ""},
		"body":                     {"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 200, "abc"},
		"chunks":                   {"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", 200, "abc"},
	}
	both(t, func(t *testing.T, o channels.Options) {
		o.Handler = mirror
		s := serve(t, o, channels.SocketOptions{Compress: true, LongPoll: longPolling}, room())
		for door, open := range doors {
			for name, c := range requests {
				conn := open(t, s)
				status, body, header := exchange(t, conn, c.request)
				if status != c.status || !strings.Contains(body, c.body) {
					t.Errorf("%s, %s: %d %q, want %d %q", door, name, status, body, c.status, c.body)
				}
				if name == "tab in Extensions" && !strings.HasPrefix(header.Get("Sec-Websocket-Extensions"), "permessage-deflate") {
					t.Errorf("%s: compression is lost: %q", door, header)
				}
				conn.Close()
			}
		}
	})
}

// A client is asked for its body when the handler reads it (Expect:
// 100-continue).
func TestContinue(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Handler = mirror
		s := serve(t, o, channels.SocketOptions{}, room())
		for door, open := range doors {
			c := open(t, s)
			status, _, _ := exchange(t, c, "POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
			if status != http.StatusContinue {
				t.Errorf("%s: %d, want 100", door, status)
			}
			if status, body, _ := exchange(t, c, "abc"); status != 200 || !strings.HasSuffix(body, "abc") {
				t.Errorf("%s: %d %q", door, status, body)
			}
		}
	})
}

// A body that comes a byte at a time is not waited for, however short the pauses
// are.
func TestDrippingBody(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		o.Handler, o.Limits.HandshakeTimeout = mirror, 300*time.Millisecond
		for _, path := range []string{"/x", "/socket/longpoll"} {
			t.Run(path, func(t *testing.T) {
				t.Parallel()
				s := serve(t, o, channels.SocketOptions{LongPoll: longPolling}, room())
				c := dialTCP(t, s.addr)
				if _, err := io.WriteString(c, "POST "+path+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					c.SetReadDeadline(time.Now().Add(patience))
					io.Copy(io.Discard, c)
				}()
				drips := 0
				for over := false; !over && drips < 1000; drips++ {
					c.Write([]byte("x"))
					select {
					case <-ended:
						over = true
					case <-time.After(20 * time.Millisecond):
					}
				}
				if drips >= 1000 {
					t.Errorf("%s: the body was waited for", path)
				}
				c.Close()
				<-ended
			})
		}
	})
}
