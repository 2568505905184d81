package channels_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// One port: what net/http serves beside the sockets.

// mirror answers with what it was asked.
var mirror = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("X-Field", fmt.Sprint(len(r.Header.Get("X-Large"))))
	fmt.Fprintf(w, "%s %s tls=%v %s", r.Method, r.URL.RequestURI(), r.TLS != nil, body)
})

// answer is the status and the body of the next response on a connection.
func (p *peer) answer() (status int, body string) {
	p.t.Helper()
	err := p.ReadHandshake()
	var s *wstest.StatusError
	switch {
	case err == nil:
		return http.StatusSwitchingProtocols, ""
	case errors.As(err, &s):
		return s.Status, s.Body
	}
	p.t.Fatalf("reading an answer: %v", err)
	return 0, ""
}

func (p *peer) write(b string) {
	p.t.Helper()
	if err := p.WriteRaw([]byte(b)); err != nil {
		p.t.Fatal(err)
	}
}

func httpClient(t *testing.T) *http.Client {
	c := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestHTTPBesideSockets(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Handler = mirror
		s := serve(t, o, channels.SocketOptions{}, room())
		c := httpClient(t)
		body := strings.Repeat("body ", 100_000)
		for _, length := range []int{0, 5, len(body)} {
			r, err := c.Post("http://"+s.addr+"/path?q=1", "text/plain", strings.NewReader(body[:length]))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r.Body)
			r.Body.Close()
			if want := "POST /path?q=1 tls=false " + body[:length]; err != nil || string(got) != want {
				t.Errorf("body of %d bytes: %d %.60q of %d bytes, %v", length, r.StatusCode, got, len(got), err)
			}
		}
		r, err := c.Head("http://" + s.addr + "/head")
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		if r.StatusCode != 200 || r.ContentLength != int64(len("HEAD /head tls=false ")) {
			t.Errorf("HEAD: %d, length %d", r.StatusCode, r.ContentLength)
		}
		// The socket's path itself belongs to the handler, what is below too.
		for _, path := range []string{"/socket", "/socket/websocket/more", "/socket/longpol", "/"} {
			p := s.raw(t)
			p.write("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
			if status, body := p.answer(); status != 200 || body != "GET "+path+" tls=false " {
				t.Errorf("%s: %d %q", path, status, body)
			}
		}
	})
}

func TestHTTPInPieces(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Handler = mirror
		s := serve(t, o, channels.SocketOptions{}, room())
		p := s.raw(t)
		for _, piece := range []string{"P", "OST /pie", "ces HTTP/1.1\r\nHost: x\r", "\nContent-Length: 10\r\n\r", "\nfirst", " half"} {
			p.write(piece)
			time.Sleep(2 * time.Millisecond) // to leave in packets of their own
		}
		if status, body := p.answer(); status != 200 || body != "POST /pieces tls=false first half" {
			t.Errorf("in pieces: %d %q", status, body)
		}
		// The same connection goes on, two requests in one packet.
		p.write("GET /2 HTTP/1.1\r\nHost: x\r\n\r\nPOST /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
		for _, want := range []string{"GET /2 tls=false ", "POST /3 tls=false abc"} {
			if status, body := p.answer(); status != 200 || body != want {
				t.Errorf("pipelined: %d %q, want %q", status, body, want)
			}
		}
		// And then becomes a socket, frames in the packet with the handshake.
		early := append(wstest.AppendHandshake(nil, "/socket/websocket?vsn=2.0.0", nil),
			frames(`["1","1","room:1","phx_join",{}]`, `["1","2","room:1","echo",[1]]`)...)
		p.write(string(early))
		if status, _ := p.answer(); status != 101 {
			t.Fatalf("upgrade on a kept connection: %d", status)
		}
		if m := p.await("phx_reply"); m.ref != "1" {
			t.Errorf("join: %v", m)
		}
		if m := p.await("phx_reply"); string(m.response) != "[1]" {
			t.Errorf("early push: %v", m)
		}
		p.assertReply("1", "room:1", "echo", `[2]`, "ok", `[2]`)
	})
}

func TestHTTPWithoutHandler(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{}, room())
		for request, want := range map[string][]int{
			"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n":                                {404},
			"GET /socket/websocket HTTP/1.1\r\nHost: x\r\n\r\n":                       {400, 426},
			"POST /socket/websocket HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n": {400, 405},
			"GET /socket/websocket HTTP/1.0\r\n\r\n":                                  {400, 426, 505},
			"GET /socket/websocket HTTP/2.0\r\nHost: x\r\n\r\n":                       {400, 505},
			"nonsense\r\n\r\n":                                {400},
			"GET / HTTP/1.1\r\n\r\n":                          {400}, // no Host
			"GET / HTTP/1.1\r\nHost: x\r\n Folded: y\r\n\r\n": {400},
			"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n": {400},
		} {
			p := s.raw(t)
			p.write(request)
			status, _ := p.answer()
			if !slices.Contains(want, status) {
				t.Errorf("%q: %d, want one of %v", request, status, want)
			}
		}
	})
}

// Heads are bounded by Limits.HeaderBytes and in their number of fields, for
// sockets and for all else, whether they end or not.
func TestLargeHead(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Handler, o.Limits.HeaderBytes = mirror, 2000
		s := serve(t, o, channels.SocketOptions{LongPoll: longPolling}, room())
		for _, path := range []string{"/page", "/socket/websocket", "/socket/longpoll"} {
			line := "GET " + path + " HTTP/1.1\r\nHost: x\r\n"
			for name, head := range map[string]string{
				"whole":      line + "X-Large: " + strings.Repeat("x", 2000) + "\r\n\r\n",
				"unfinished": line + "X-Large: " + strings.Repeat("x", 2000),
				"tiny lines": line + strings.Repeat("A:\r\n", 200) + "\r\n",
				"a line":     "GET " + path + strings.Repeat("x", 2000),
			} {
				p := s.raw(t)
				p.write(head)
				if status, _ := p.answer(); status != 431 {
					t.Errorf("%s, %s: %d, want 431", path, name, status)
				}
			}
		}
		p := s.dialTarget(t, "/socket/websocket?vsn=2.0.0", http.Header{"X-Large": {strings.Repeat("x", 1500)}})
		p.join("room:1", "{}")
	})
}

// A connection has Limits.HandshakeTimeout for its request, however it spreads
// the bytes.
func TestSlowHead(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		o.Limits.HandshakeTimeout = shortLimit
		for name, write := range map[string]func(c net.Conn) error{
			"silent": func(net.Conn) error { return nil },
			"half":   func(c net.Conn) error { _, err := c.Write([]byte("GET /socket/websocket HTT")); return err },
			"drip":   drip,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				s := serve(t, o, channels.SocketOptions{}, room())
				c, err := net.Dial("tcp", s.addr)
				if err != nil {
					t.Fatal(err)
				}
				wrote := make(chan error, 1)
				go func() { wrote <- write(c) }()
				c.SetReadDeadline(time.Now().Add(patience))
				_, err = io.Copy(io.Discard, c)
				if isTimeout(err) {
					t.Errorf("%s: not ended", name)
				}
				c.Close()
				if err := <-wrote; errors.Is(err, errWroteAll) {
					t.Errorf("%s: the whole head, 100 bytes in 12 s, was waited for", name)
				}
				s.dial(t).join("room:1", "{}")
			})
		}
	})
}

var errWroteAll = errors.New("all was written")

// drip sends a head that is never over, a byte at a time, each well within the
// timeout.
func drip(c net.Conn) error {
	head := "GET /socket/websocket HTTP/1.1\r\nHost: x\r\nX-Slow: " + strings.Repeat("x", 52)
	for i := range 100 {
		if _, err := c.Write([]byte(head[i : i+1])); err != nil {
			return err
		}
		time.Sleep(120 * time.Millisecond)
	}
	return errWroteAll
}

// Streaming, hijacking and clients that go away are as ever in net/http.
func TestHTTPStreams(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		mux := http.NewServeMux()
		next := make(chan string)
		mux.HandleFunc("/stream", func(w http.ResponseWriter, _ *http.Request) {
			for line := range next {
				fmt.Fprintln(w, line)
				w.(http.Flusher).Flush()
			}
		})
		mux.HandleFunc("/hijack", func(w http.ResponseWriter, _ *http.Request) {
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			line, _ := rw.ReadString('\n')
			rw.WriteString("echo " + line)
			rw.Flush()
		})
		begun, gone := make(chan struct{}), make(chan error, 1)
		mux.HandleFunc("/gone", func(_ http.ResponseWriter, r *http.Request) {
			close(begun)
			<-r.Context().Done()
			gone <- r.Context().Err()
		})
		o.Handler = mux
		s := serve(t, o, channels.SocketOptions{}, room())
		go func() { next <- "zero" }() // the head of the answer comes with the first line
		r, err := httpClient(t).Get("http://" + s.addr + "/stream")
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(r.Body)
		for i, line := range []string{"zero", "one", "two"} {
			if i > 0 {
				next <- line
			}
			if got, err := lines.ReadString('\n'); err != nil || got != line+"\n" {
				t.Errorf("streamed %q, %v", got, err)
			}
		}
		close(next)
		r.Body.Close()

		p := s.raw(t)
		p.write("GET /hijack HTTP/1.1\r\nHost: x\r\n\r\nhello\n")
		if got, err := io.ReadAll(p.Conn()); err != nil || string(got) != "echo hello\n" {
			t.Errorf("hijacked: %q, %v", got, err)
		}
		p = s.raw(t)
		p.write("GET /gone HTTP/1.1\r\nHost: x\r\n\r\n")
		<-begun
		p.Drop()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("a request whose client has gone: %v", err)
		}
	})
}
