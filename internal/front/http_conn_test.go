package front

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// streamConn is a connection whose client has sent all that it sends.
type streamConn struct {
	net.Conn // nil: what is not defined here is not called
	in       *bytes.Reader
	piece    int
	once     sync.Once
	closed   chan struct{}
}

func (c *streamConn) Read(p []byte) (int, error)       { return c.in.Read(p[:min(len(p), c.piece)]) }
func (c *streamConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *streamConn) CloseWrite() error                { return nil }
func (c *streamConn) Close() error                     { c.once.Do(func() { close(c.closed) }); return nil }
func (c *streamConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *streamConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *streamConn) SetDeadline(time.Time) error      { return nil }
func (c *streamConn) SetReadDeadline(time.Time) error  { return nil }
func (c *streamConn) SetWriteDeadline(time.Time) error { return nil }

// strictRequests are the requests in a stream, as websocket.Request and
// websocket.Body find them one behind the other.
func strictRequests(in []byte, mostHead int) (found []string) {
	for {
		end := websocket.HeadEnd(in, 0)
		if end < 0 || end > mostHead {
			return found
		}
		r, err := websocket.ParseRequest(in[:end])
		if err != nil {
			return found
		}
		body := websocket.NewBody(r.ContentLength)
		n, err := body.Feed(in[end:])
		if err != nil || !body.Ended() {
			return found
		}
		if r.Target != "*" { // net/http answers OPTIONS * itself
			found = append(found, r.Method+" "+r.Target)
		}
		in = in[end+n:]
	}
}

// FuzzRequests sends a stream of requests: those that a handler gets whole are
// the first of those that are strictly in it, in their order, and no others.
// Whatever net/http thinks of a stream, it cannot find a request elsewhere.
func FuzzRequests(f *testing.F) {
	const get = "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
	const chunked = "POST /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a\r\nabc\r\n0\r\nA: b\r\n\r\n"
	const length = "PUT /3 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /"
	for _, stream := range []string{
		get + chunked + length + get, length + "\n" + get, chunked + "\r\n" + get, get + "GET /\n\n" + get,
		"GET /1 HTTP/1.1\nHost: x\n\n" + get, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + get,
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n" + get,
		"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc" + get,
		"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + get, "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n" + get,
		"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\nHEAD http://y/ HTTP/1.1\r\nHost: x\r\n\r\n" + get,
	} {
		f.Add([]byte(stream), 1<<16)
		f.Add([]byte(stream), 3)
	}
	var mu sync.Mutex
	var got []string
	handler := func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, r.Method+" "+r.RequestURI)
		}
	}
	const headerBytes = 16 << 10
	front := New(Options{
		Gate: admission.NewGate(admission.Limits{}, nil, nil), Log: logging.NewLog(nil),
		HeaderBytes: headerBytes, HandshakeTimeout: 10 * time.Second, Handler: http.HandlerFunc(handler),
	})
	f.Cleanup(func() {
		if err := front.Shutdown(context.Background()); err != nil {
			f.Error(err)
		}
	})
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		got = nil
		c := &streamConn{in: bytes.NewReader(in), piece: max(1, piece), closed: make(chan struct{})}
		front.http.conns.put(&httpConn{countedConn: &countedConn{Conn: c}, front: front})
		select {
		case <-c.closed:
		case <-time.After(patience):
			t.Fatalf("%q: the connection stays", in)
		}
		mu.Lock()
		defer mu.Unlock()
		want := strictRequests(in, headerBytes)
		if len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
			t.Fatalf("%q: %q were served, want the first of %q", in, got, want)
		}
	})
}
