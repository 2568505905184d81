package front

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/internal/logging"
)

// httpServer is the server of net/http behind the loops. It gets the connections
// whose first request is no WebSocket handshake, each as an httpConn.
type httpServer struct {
	front  *Front
	server *http.Server
	conns  connQueue

	// Guarded by mu.
	mu   sync.Mutex
	open map[*httpConn]*list.Element // its place in idle; nil while it has a request
	idle list.List                   // connections without a request, in the order in which they became idle
}

// idleTimeout is how long a kept connection may be without a request.
const idleTimeout = 2 * time.Minute

func newHTTPServer(f *Front) *httpServer {
	s := &httpServer{front: f, conns: newConnQueue(), open: make(map[*httpConn]*list.Element)}
	s.server = &http.Server{
		Handler:           s,
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState:         s.changed,
		ReadHeaderTimeout: f.options.HandshakeTimeout, // httpConn has all other deadlines
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    f.options.HeaderBytes,
		ErrorLog:          logging.ErrorLog(f.options.Log),
	}
	go s.server.Serve(s.conns) //nolint:errcheck // always ErrServerClosed
	return s
}

// connKey is the context key of a request's httpConn.
type connKey struct{}

// connOf returns the connection of a request that came to a front's port, nil for
// a request of another server.
func connOf(r *http.Request) *httpConn {
	c, _ := r.Context().Value(connKey{}).(*httpConn)
	return c
}

// Exempt leaves the connection of r out of the count of connections of net/http
// until end is called. It is for polls that wait: their sessions are counted.
func Exempt(r *http.Request) (end func()) {
	c := connOf(r)
	if c == nil {
		return func() {}
	}
	c.http.LeaveHTTP()
	return c.http.ReturnHTTP
}

// ServeHTTP has Options.Handler serve a request. net/http does not know that TLS
// was spoken on the loop.
func (s *httpServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c := connOf(r); c != nil {
		r.TLS = c.tls
		if c.node != nil {
			c.impersonate(r)
		}
		c.handling.Store(true)
		defer c.handled()
	}
	s.front.options.Handler.ServeHTTP(w, r)
}

// changed is called by net/http when the state of a connection changes, on the
// goroutine that serves it.
func (s *httpServer) changed(nc net.Conn, state http.ConnState) {
	c := nc.(*httpConn)
	c.changed(state)
	s.mu.Lock()
	defer s.mu.Unlock()
	if place := s.open[c]; place != nil {
		s.idle.Remove(place)
		s.open[c] = nil
	}
	switch state {
	case http.StateNew:
		s.open[c] = nil
	case http.StateIdle:
		s.open[c] = s.idle.PushBack(c)
	case http.StateHijacked, http.StateClosed:
		delete(s.open, c)
	}
}

// makeRoom closes the connection that has been without a request for longest, and
// reports whether there was one: a client that is there comes before one that may
// come back.
func (s *httpServer) makeRoom() bool {
	c := s.takeIdle()
	if c == nil {
		return false
	}
	c.abort()
	return true
}

// takeIdle removes a connection from idle, nil if there is none.
func (s *httpServer) takeIdle() *httpConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	place := s.idle.Front()
	if place == nil {
		return nil
	}
	c := s.idle.Remove(place).(*httpConn)
	s.open[c] = nil
	return c
}

// Idle returns how many connections over HTTP/1 have no request now.
func (f *Front) Idle() int {
	f.http.mu.Lock()
	defer f.http.mu.Unlock()
	return f.http.idle.Len()
}

// shutdown waits until ctx is done for the requests that are under way, but not
// for clients that stop sending or reading.
func (s *httpServer) shutdown(ctx context.Context) error {
	s.mu.Lock()
	for c := range s.open {
		c.hurry()
	}
	s.mu.Unlock()
	err := s.server.Shutdown(ctx)
	if err != nil {
		s.server.Close() // the first error counts
	}
	return err
}
