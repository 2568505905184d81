package front

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// Browsers open six connections to a server at most, or one with HTTP/2: a seventh tab
// that polls would wait for the others. So TLS offers both. WebSockets have connections of
// their own, with HTTP/1.1 (RFC 8441 is not offered).
const (
	http1 = "http/1.1"
	http2 = "h2"
)

// maxStreams bounds the requests of an HTTP/2 connection that are under way: polls of
// many tabs. RFC 9113, 6.5.2, recommends no less.
const maxStreams = 100

// http2Server is the server of net/http for connections that have agreed on HTTP/2. TLS
// was spoken on the loop, so they are in clear text for it.
type http2Server struct {
	front  *Front
	server *http.Server
	conns  connQueue
}

func newHTTP2Server(f *Front) *http2Server {
	s := &http2Server{front: f, conns: newConnQueue()}
	s.server = &http.Server{
		Handler:     s,
		Protocols:   new(http.Protocols),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, http2Key{}, c) },
		ErrorLog:    logging.ErrorLog(f.options.Log),
		// Before it knows that it speaks HTTP/2, net/http waits for the preface.
		ReadHeaderTimeout: f.options.HandshakeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    f.options.HeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			SendPingTimeout:      idleTimeout / 4, // it finds a client that vanished while it polls
			PingTimeout:          f.options.HandshakeTimeout,
			WriteByteTimeout:     f.options.HandshakeTimeout,
		},
	}
	s.server.Protocols.SetUnencryptedHTTP2(true)
	go s.server.Serve(s.conns) //nolint:errcheck // always ErrServerClosed
	return s
}

// http2Conn is a connection that speaks HTTP/2.
type http2Conn struct {
	*countedConn
	tls *tls.ConnectionState
}

// http2Key is the context key of a request's http2Conn.
type http2Key struct{}

// ServeHTTP has Options.Handler serve a request. A client has HandshakeTimeout to send a
// body, and with a second more for each 8 KiB that it announces; handlers may set other
// deadlines.
func (s *http2Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.TLS = r.Context().Value(http2Key{}).(*http2Conn).tls
	if r.Body != http.NoBody {
		wait := s.front.options.HandshakeTimeout + time.Duration(max(r.ContentLength, 0)/allowanceRate)*time.Second
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(wait)) //nolint:errcheck // HTTP/2 has deadlines
	}
	s.front.options.Handler.ServeHTTP(w, r)
}

// handToHTTP2 gives the connection, and all that was read of it, to net/http.
func (a *arrival) handToHTTP2(c *netloop.Conn, data []byte) {
	o, state := &a.front.options, c.TLS()
	if !o.Gate.EnterHTTP(a.front.http.makeRoom) {
		o.Log.Warn("connection refused").Err(admission.ErrTooManyHTTP).Addr("address", a.peer).Write()
		c.Close(admission.ErrTooManyHTTP)
		return
	}
	conn, err := c.Detach()
	if err != nil {
		o.Gate.LeaveHTTP()
		o.OnLost(err)
		c.Close(err)
		return
	}
	counted := &countedConn{Conn: conn, http: o.Gate, unread: append([]byte(nil), data...)} // the wire has the ticket
	a.front.http2.conns.put(&http2Conn{countedConn: counted, tls: state})
}

// shutdown waits until ctx is done for the requests that are under way.
func (s *http2Server) shutdown(ctx context.Context) error {
	err := s.server.Shutdown(ctx)
	if err != nil {
		s.server.Close() // the first error counts
	}
	return err
}
