package channels_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// A request that is refused as the first one of a connection is refused as a
// later one too, and nothing after it is served.
func TestStrictRequests(t *testing.T) {
	chunkedUpgrade := strings.Replace(socketHandshake(), "\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", 1)
	requests := map[string]struct {
		request string
		status  int // 0: the connection ends without an answer, or with any 4xx
	}{
		"chunked upgrade":      {chunkedUpgrade, 400},
		"upgrade with a body":  {strings.Replace(socketHandshake(), "\r\n\r\n", "\r\nContent-Length: 3\r\n\r\n", 1), 400},
		"host":                 {"GET / HTTP/1.1\r\nHost: x y\r\n\r\n", 400},
		"host of a socket":     {strings.Replace(socketHandshake(), "Host: ", "Host: x ", 1), 400},
		"bare LF":              {"GET / HTTP/1.1\nHost: x\n\n", 400},
		"bare LF in a field":   {"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", 400},
		"two lengths":          {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
		"odd coding":           {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
		"space before a colon": {"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400},
		"folded":               {"GET / HTTP/1.1\r\nHost: x\r\nX: y\r\n z\r\n\r\n", 400},
		"HTTP/2":               {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		"user in the target":   {"GET http://a@x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"large head":           {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 20_000) + "\r\n\r\n", 431},
		"unfinished head":      {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 20_000), 431},
		"many fields":          {"GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A:\r\n", 101) + "\r\n", 431},
		"chunk size":           {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n", 0},
		"bare LF in a chunk":   {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", 0},
		"chunk too long":       {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", 0},
		"trailer":              {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nbad trailer\r\n\r\n", 0},
	}
	both(t, func(t *testing.T, o channels.Options) {
		var smuggled atomic.Int64
		mux := http.NewServeMux()
		mux.Handle("/", mirror)
		mux.HandleFunc("/smuggled", func(http.ResponseWriter, *http.Request) { smuggled.Add(1) })
		o.Handler = mux
		s := serve(t, o, channels.SocketOptions{LongPoll: longPolling}, room())
		const before, behind = "POST /before HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab", "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
		for name, c := range requests {
			for place, first := range map[string]string{"first": "", "later": before, "behind a poll": "OPTIONS /socket/longpoll HTTP/1.1\r\nHost: x\r\n\r\n"} {
				for _, piece := range []int{1 << 20, 7} { // in one packet, and in small ones
					if piece == 7 && len(c.request) > 5000 {
						continue
					}
					p := s.raw(t)
					if first != "" {
						p.write(first)
						if status, _ := p.answer(); status != 200 {
							t.Fatalf("%s: %d", first, status)
						}
					}
					for text := c.request + behind; text != ""; text = text[min(piece, len(text)):] {
						if p.WriteRaw([]byte(text[:min(piece, len(text))])) != nil {
							break // it has been refused already
						}
					}
					if c.status != 0 {
						if status, _ := p.answer(); status != c.status {
							t.Errorf("%s, %s: %d, want %d", name, place, status, c.status)
						}
					}
					if rest, err := io.ReadAll(p.Conn()); isTimeout(err) {
						t.Errorf("%s, %s: the connection stays", name, place)
					} else if c.status == 0 && len(rest) > 0 && !strings.HasPrefix(string(rest), "HTTP/1.1 400 ") {
						t.Errorf("%s, %s: %q", name, place, rest)
					}
					p.Drop()
				}
			}
		}
		if n := smuggled.Load(); n != 0 {
			t.Errorf("%d smuggled requests were served", n)
		}
		// Requests that are right are served one behind the other, in any packets.
		const n = 50
		p := s.raw(t)
		p.write(strings.Repeat("POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nA: b\r\n\r\nGET /y HTTP/1.1\r\nHost: x\r\n\r\n", n))
		for range n {
			for _, want := range []string{"POST /x tls=false abc", "GET /y tls=false "} {
				if status, body := p.answer(); status != 200 || body != want {
					t.Fatalf("%d %q, want %q", status, body, want)
				}
			}
		}
	})
}

// A path means the same to the front and to net/http.
func TestPathsOfLaterRequests(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Handler = mirror
		s := serve(t, o, channels.SocketOptions{}, room())
		for path, want := range map[string]int{
			"/socket/websocket?vsn=2.0.0": 101, "//socket//%77ebsocket/?vsn=2.0.0": 101, "http://localhost/socket/websocket?vsn=2.0.0": 101,
			"/socket%2Fwebsocket": 200, "/socket/websocket%2F": 200,
		} {
			for _, first := range []string{"", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"} {
				p := s.raw(t)
				if first != "" {
					p.write(first)
					p.answer()
				}
				p.write(string(wstest.AppendHandshake(nil, path, nil)))
				if status, _ := p.answer(); status != want {
					t.Errorf("%s behind %q: %d, want %d", path, first, status, want)
				}
				p.Drop()
			}
		}
	})
}

// endless writes until the client stops to read.
var endless = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	for block := make([]byte, 64<<10); ; {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
})

// heldRequests are all that a client can do to hold a request open.
var heldRequests = map[string]string{
	"no body":           "POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
	"half a body":       "POST /mirror HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
	"no chunk":          "POST /mirror HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
	"no trailers":       "POST /mirror HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
	"preflight":         "OPTIONS /socket/longpoll HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
	"unread answer":     "GET /endless HTTP/1.1\r\nHost: x\r\n\r\n",
	"half a later head": "GET /nothing HTTP/1.1\r\nHost: x\r\n\r\nGET /nothing HT",
	"expectation":       "POST /mirror HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
}

func heldHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/mirror", mirror)
	mux.Handle("/endless", endless)
	return mux
}

// hold opens a connection for each of heldRequests.
func (s *server) hold(t *testing.T) {
	for _, request := range heldRequests {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
	}
}

// Nobody holds a request open for longer than Limits.HandshakeTimeout.
func TestHeldRequests(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		o.Handler, o.Limits.HandshakeTimeout = heldHandler(), shortLimit
		o.Limits.MaxConnections = len(heldRequests)
		s := serve(t, o, channels.SocketOptions{LongPoll: longPolling}, room())
		s.hold(t)
		waitFor(t, "room for somebody else", func() bool {
			var room [3]*wstest.Client
			for i := range room {
				c, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0", nil)
				if err != nil {
					return false
				}
				defer c.Drop()
				room[i] = c
			}
			return true
		})
		waitFor(t, "all of them to be ended", func() bool {
			var free int
			for range len(heldRequests) {
				c, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0", nil)
				if err == nil {
					defer c.Drop()
					free++
				}
			}
			return free == len(heldRequests)
		})
	})
}

// Requests that are held open do not hold up a shutdown either, whatever the
// timeout is.
func TestShutdownWithHeldRequests(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		o.Handler, o.Limits.HandshakeTimeout = heldHandler(), time.Hour
		s := newServer(t, o)
		s.Socket("/socket", channels.SocketOptions{LongPoll: longPolling}, room())
		s.hold(t)
		p := s.raw(t) // has an answer, and no request
		p.write("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
		if status, _ := p.answer(); status != 404 {
			t.Fatal(status)
		}
		if err := shutdown(t, s); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if n := s.Stats().Network.Connections; n != 0 {
			t.Errorf("%d connections left", n)
		}
	})
}

// Connections without a request make room for new ones, those that have waited
// longest first.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Handler, o.Limits.MaxConnections = mirror, 3
		s := serve(t, o, channels.SocketOptions{}, room())
		var idle [3]*peer
		for i := range idle {
			idle[i] = s.raw(t)
			idle[i].write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			idle[i].answer()
			// net/http calls it idle behind the answer. The third has the place of the first.
			waitFor(t, "a connection to be idle", func() bool { return s.IdleRequests() == min(i+1, 2) })
		}
		waitFor(t, "a place", func() bool {
			c, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0", nil)
			if err == nil {
				t.Cleanup(func() { c.Drop() })
			}
			return err == nil
		})
		if _, err := idle[0].Conn().Read(make([]byte, 1)); isTimeout(err) {
			t.Error("the connection that waits longest was not closed")
		}
		idle[2].write("GET /again HTTP/1.1\r\nHost: x\r\n\r\n")
		if status, _ := idle[2].answer(); status != 200 {
			t.Errorf("the newest idle connection: %d", status)
		}
	})
}

// The time that a handler takes does not count, and it may give its client more
// time.
func TestLongRequests(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		const timeout = shortLimit
		mux := http.NewServeMux()
		mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
			for i := range 2 {
				select {
				case <-time.After(timeout):
				case <-r.Context().Done():
					t.Errorf("the request is over after %d lines", i)
				}
				fmt.Fprintln(w, "line")
				w.(http.Flusher).Flush()
			}
		})
		mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience))
			body, err := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %v", body, err)
		})
		o.Handler, o.Limits.HandshakeTimeout = mux, timeout
		s := serve(t, o, channels.SocketOptions{}, room())
		streamed, uploads := s.raw(t), s.raw(t)
		streamed.write("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
		uploads.write("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
		for _, b := range "ok" {
			time.Sleep(timeout)
			uploads.write(string(b))
		}
		if status, body := streamed.answer(); status != 200 || body != "line\nline\n" {
			t.Errorf("stream: %d %q", status, body)
		}
		if status, body := uploads.answer(); status != 200 || body != "ok <nil>" {
			t.Errorf("upload: %d %q", status, body)
		}
	})
}
