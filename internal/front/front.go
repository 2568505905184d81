package front

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/forward"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// Options are what a front is told by its endpoint.
type Options struct {
	Loops *netloop.Group
	Gate  *admission.Gate
	Log   *logging.Log
	// HeaderBytes bounds the head of each request.
	HeaderBytes int
	// HandshakeTimeout bounds the wait for a head, for Connect, and for each pause
	// of a client in sending a body and in reading an answer.
	HandshakeTimeout time.Duration
	// TLS, if not nil, serves TLS on the same port. ClearText is for connections
	// without it.
	TLS       *tls.Config
	ClearText ClearText
	// Find returns what is at a path. A Refusal is the answer for everybody. It runs on
	// event loops.
	Find func(path string) (Place, *admission.Refusal)
	// Handler serves all requests that net/http reads, those for sockets too: it
	// passes them to [Front.Upgrade] and [Front.Forward].
	Handler http.Handler
	// OnLost is told of connections that could not be taken from their loop.
	OnLost func(error)
}

// Place is what a path is for. The zero Place is that of a path that no socket has.
type Place struct {
	Mount     Mount              // the socket whose WebSockets are there; nil: none
	Polled    bool               // the path is one of long polling
	Elsewhere *forward.Elsewhere // another node serves it
}

// Client is who has sent a request.
type Client struct {
	Addr        netip.AddrPort
	Secure      bool                 // it has TLS, here or at the node that has forwarded it
	Certificate *forward.Certificate // nil: it has none, or none that was verified
	TCP         bool                 // it speaks raw TCP, see package packet
}

// Mount is a socket at a path. Its methods are safe from any goroutine.
type Mount interface {
	// Terms are what the socket asks of a handshake.
	Terms() Terms
	// NewHandshake begins the handshake of a client. The strings and the header of
	// head may be kept as Terms.ReuseHead says.
	NewHandshake(head *websocket.Request, from Client) Handshake
	// Spawn runs a.Run on a goroutine, which the endpoint waits for when it shuts down.
	Spawn(a *Attempt)
}

// Terms are what the front needs to know of a socket.
type Terms struct {
	Gate             *admission.Gate // of the socket's endpoint, which may be a guest
	Log              *logging.Log
	HandshakeTimeout time.Duration // for requests that net/http has read
	Subprotocols     admission.Subprotocols
	Compress         bool // agree to permessage-deflate
	MayBlock         bool // Connect may block; it must not run on an event loop
	ReuseHead        bool // the socket keeps of a head only strings
}

// Handshake is a request for a WebSocket at the path of a Mount. One goroutine at
// a time calls its methods.
type Handshake interface {
	// CheckOrigin refuses a page that may not connect.
	CheckOrigin() *admission.Refusal
	// Connect asks the application. token is what the client sent among the
	// subprotocols, nil if it sent none. It may block until ctx is done.
	Connect(ctx context.Context, token *string) *admission.Refusal
	// Open makes c the socket's, on c's loop, and answers with accept. It sets the
	// handler of c, which gives t back when c is closed.
	Open(c *netloop.Conn, accept websocket.Accept, t *admission.Ticket)
	// Release ends the handshake, whatever has become of it.
	Release()
}

// Front serves the listeners of an endpoint.
type Front struct {
	options Options
	tls     *tls.Config // of all connections, which share its session tickets; nil: no TLS
	tcpTLS  *tls.Config // the same for raw TCP
	http    *httpServer
	http2   *http2Server // nil: no TLS
	splices *splices

	// Guarded by mu.
	mu        sync.Mutex
	listeners []*netloop.Listener
	closed    bool
}

// New starts a front, to be ended by CloseListeners and Shutdown.
func New(o Options) *Front {
	f := &Front{options: o}
	if o.TLS != nil {
		f.tls, f.tcpTLS = served(o.TLS, http2, http1), served(o.TLS, tcpProtocol)
		f.http2 = newHTTP2Server(f)
	}
	f.http = newHTTPServer(f)
	f.splices = newSplices(&f.options)
	return f
}

// Listen serves a TCP address. It returns netloop.ErrClosed after CloseListeners.
func (f *Front) Listen(addr string) (net.Addr, error) {
	return f.keepListener(f.options.Loops.Listen(addr, f.newArrival))
}

// Serve serves a listener, which belongs to the front from now on. It returns
// netloop.ErrClosed after CloseListeners.
func (f *Front) Serve(l net.Listener) (net.Addr, error) {
	return f.keepListener(f.options.Loops.Serve(l, f.newArrival))
}

func (f *Front) newArrival(peer netip.AddrPort) netloop.Handler {
	return &arrival{front: f, peer: peer}
}

// ListenTCP serves raw TCP on an address. Its errors are those of Listen.
func (f *Front) ListenTCP(addr string) (net.Addr, error) {
	return f.keepListener(f.options.Loops.Listen(addr, f.newTCPArrival))
}

// ServeTCP serves raw TCP on a listener, which belongs to the front from now on. Its
// errors are those of Serve.
func (f *Front) ServeTCP(l net.Listener) (net.Addr, error) {
	return f.keepListener(f.options.Loops.Serve(l, f.newTCPArrival))
}

func (f *Front) newTCPArrival(peer netip.AddrPort) netloop.Handler {
	return &arrival{front: f, peer: peer, tcp: true}
}

func (f *Front) keepListener(l *netloop.Listener, err error) (net.Addr, error) {
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	closed := f.closed
	if !closed {
		f.listeners = append(f.listeners, l)
	}
	f.mu.Unlock()
	if closed {
		l.Close() // it has served nobody
		return nil, netloop.ErrClosed
	}
	return l.Addr(), nil
}

// CloseListeners ends all listeners, and waits for the loops that accept.
func (f *Front) CloseListeners() {
	f.splices.stopDialing()
	f.mu.Lock()
	f.closed = true
	listeners := f.listeners
	f.mu.Unlock()
	for _, l := range listeners {
		l.Close() // nothing could be done about an error
	}
}

// Shutdown waits until ctx is done for the requests of net/http that are under way,
// then closes their connections.
func (f *Front) Shutdown(ctx context.Context) error {
	f.splices.work.Wait()
	if f.http2 == nil {
		return f.http.shutdown(ctx)
	}
	err := make(chan error, 1)
	go func() { err <- f.http2.shutdown(ctx) }()
	return errors.Join(f.http.shutdown(ctx), <-err)
}

// malformed counts and logs a request that is refused for what it is, and returns r.
func (f *Front) malformed(r *admission.Refusal, peer netip.AddrPort) *admission.Refusal {
	f.options.Gate.Refusals.Malformed.Add(1)
	f.options.Log.Debug("malformed request").Int("status", r.Status).Str("reason", r.Body).Addr("address", peer).Write()
	return r
}
