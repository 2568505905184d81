package channels_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
)

// ask sends one request without TLS and returns the answer and the rest of what
// the server sends.
func (s *server) ask(t *testing.T, request string) (status int, body string, header http.Header) {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return exchange(t, c, request)
}

func TestClearText(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		serverSide, clientSide := selfSigned(t)
		socket := socketHandshake()
		for policy, want := range map[channels.ClearText]struct{ page, secret, post, socket, poll int }{
			channels.ClearTextAllow:    {200, 200, 200, 101, 200},
			channels.ClearTextRedirect: {308, 403, 403, 403, 403},
			channels.ClearTextRefuse:   {403, 403, 403, 403, 403},
		} {
			o.TLS, o.Handler, o.ClearText = serverSide, mirror, policy
			s := serve(t, o, channels.SocketOptions{LongPoll: longPolling}, room())
			for request, status := range map[string]int{
				"GET /page?a=1 HTTP/1.1\r\nHost: x:4000\r\n\r\n":                        want.page,
				"HEAD /page?a=1 HTTP/1.1\r\nHost: x:4000\r\n\r\n":                       want.page,
				"GET http://x:4000/page?a=1 HTTP/1.1\r\nHost: y\r\n\r\n":                want.page,
				"GET /page HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n": want.secret,
				"GET /page?a=1 HTTP/1.1\r\nHost: x:4000\r\nCookie: a=b\r\n\r\n":         want.page,
				"POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n":           want.post,
				socket: want.socket,
				"GET /socket/longpoll?vsn=2.0.0 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n": want.poll,
			} {
				got, body, header := s.ask(t, request)
				if got != status {
					t.Errorf("policy %d, %.40q: %d, want %d", policy, request, got, status)
				}
				if got == 308 && header.Get("Location") != "https://x:4000/page?a=1" {
					t.Errorf("%.40q: redirected to %q", request, header.Get("Location"))
				}
				if got == 403 && !strings.Contains(body, "TLS") && !strings.HasPrefix(request, "HEAD") {
					t.Errorf("%.40q: refused with %q", request, body)
				}
			}
			dialTLS(t, s.addr, clientSide).join("room:1", "{}")
		}
	})
}

// A client that speaks TLS to a port without it is answered at its first byte.
func TestTLSToPlainPort(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{}, room())
		_, err := httpClient(t).Get("https://" + s.addr + "/")
		if err == nil || !strings.Contains(err.Error(), "HTTP response to HTTPS client") {
			t.Errorf("a client of Go: %v", err)
		}
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		status, body, _ := exchange(t, c, "\x16")
		if status != 400 || !strings.Contains(body, "plain HTTP") {
			t.Errorf("%d %q", status, body)
		}
		if _, err := io.Copy(io.Discard, c); isTimeout(err) {
			t.Error("the connection stays")
		}
	})
}
