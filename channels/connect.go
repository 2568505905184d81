package channels

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/callback"
	"github.com/mycelium-rt/mycelium/internal/frames"
	"github.com/mycelium-rt/mycelium/internal/websocket"
	"github.com/mycelium-rt/mycelium/wire"
)

// SocketOptions configure the socket at one path. The zero value accepts every
// client whose page comes from the same host.
type SocketOptions struct {
	// Connect decides whether a client may connect (Phoenix's connect/3). It may
	// give the socket an id and assigns, and may block: other connections do
	// not wait for it. Any error refuses the client with 403 and an empty body,
	// which is all that Phoenix tells; a [*RefusedError] chooses the answer. A
	// panic is answered with 500. ctx ends with Limits.HandshakeTimeout.
	Connect func(ctx context.Context, s *Socket, r *Request) error
	// ConnectOnLoop declares that Connect never blocks or computes for long. It
	// then runs on the event loop of its connection, without a goroutine and
	// without a timer for ctx; one that blocks would hold up every connection of
	// that loop.
	ConnectOnLoop bool
	// ReuseRequest declares that Connect keeps nothing of its Request but strings
	// and copies: no map, slice or pointer, and Params only as maps.Clone of it. The
	// next client's Request is then made of the same memory.
	ReuseRequest bool
	// Path is what follows the socket's path for WebSockets. Default
	// "/websocket", which phoenix.js adds by itself; "/" is the socket's path
	// as it is, for clients that are given the whole address.
	Path string
	// CheckOrigin decides for requests that carry an Origin. nil is [SameHost].
	CheckOrigin OriginCheck
	// OriginHelp is what a refused page is told in the answer's body, and the log
	// behind "allowed": which pages may connect, and how to allow others. The
	// default names CheckOrigin.
	OriginHelp string
	// IdleTimeout is how long a client may send nothing before its socket is
	// closed. Default 60 s, twice the heartbeat of phoenix.js; negative: never.
	IdleTimeout time.Duration
	// AuthToken accepts a token as phoenix.js's authToken option sends it: in
	// the subprotocol base64url.bearer.phx.TOKEN, or in the header
	// X-Phoenix-AuthToken of long polling. See Request.AuthToken.
	AuthToken bool
	// Subprotocols, where there are any, are those that are accepted; a client
	// that offers only others is refused.
	Subprotocols []string
	// MaxMessage, if not 0, stands here in place of Limits.MaxMessage.
	MaxMessage int
	// Compress agrees to compress messages with clients that offer it
	// (permessage-deflate, RFC 7692). Those of 512 bytes to 1 MiB are then sent
	// compressed where that makes them smaller, a broadcast once for all. What a
	// client sends may not inflate beyond MaxMessage: its socket is closed with
	// 1009. More than 100 times its size counts against Limits.HeartbeatsPerSecond.
	Compress bool
	// Dialect is the protocol that the socket's clients speak, which the vsn of
	// their query chooses a version of. nil is [wire.Phoenix]: versions 1.0.0 and
	// 2.0.0. What a dialect changes is the form of messages, not what they mean.
	Dialect wire.Dialect
	// Opened and Closed are told of each socket that is connected, and of its
	// end, after its last message. They run on the socket's event loop and must
	// not block. A panic in one is logged.
	Opened func(s *Socket)
	Closed func(s *Socket)
	// LongPoll serves clients that get no WebSocket through to the server.
	LongPoll LongPollOptions

	frames websocket.Limits
}

func (o SocketOptions) withDefaults() SocketOptions {
	setDefault(&o.IdleTimeout, 60*time.Second)
	setDefault(&o.Path, "/websocket")
	setDefault(&o.LongPoll.Path, "/longpoll")
	setDefault(&o.LongPoll.Window, 10*time.Second)
	setDefault(&o.LongPoll.Grace, 3*time.Second)
	setDefault(&o.LongPoll.TokenMaxAge, 14*24*time.Hour)
	setDefault(&o.OriginHelp, originHelp(o.CheckOrigin))
	if o.Dialect == nil {
		o.Dialect = wire.Phoenix
	}
	if o.CheckOrigin == nil {
		o.CheckOrigin = SameHost
	}
	return o
}

// Request is what a client connects with. It is valid until Connect returns.
type Request struct {
	// Params are those of the URL's query; of two with one name the last counts.
	Params Params
	// URL has the path, the query and, as in Phoenix, the scheme and host that
	// the client asked for.
	URL *url.URL
	// Header has the request's header fields. They may share memory: one that is
	// kept for long (assigned to the socket) is better kept as strings.Clone of it.
	Header http.Header
	// RemoteAddr is the client's address: the peer of the connection, or whom
	// one of Options.TrustedProxies names. Its port is 0 where the proxy does
	// not say it.
	RemoteAddr netip.AddrPort
	// Transport is "websocket" or "longpoll".
	Transport string

	authToken *string // nil: none was sent
}

// AuthToken returns the token that came as SocketOptions.AuthToken says; ok
// tells an empty one from none.
func (r *Request) AuthToken() (token string, ok bool) {
	if r.authToken == nil {
		return "", false
	}
	return *r.authToken, true
}

// checkOrigin refuses a request from a page that may not connect.
func (m *mount) checkOrigin(r *Request) *admission.Refusal {
	allowed, err := askOrigin(m.options.CheckOrigin, r)
	switch {
	case err != nil:
		return m.endpoint.crashedBy(err)
	case allowed:
		return nil
	}
	return m.endpoint.originRefusal(m, r)
}

// connect makes the checks that all transports make of a new socket, and then asks
// the application.
func (s *Socket) connect(ctx context.Context, r *Request) *admission.Refusal {
	e := s.endpoint
	s.network = e.gate.Network(r.RemoteAddr.Addr())
	if err := s.chooseEncoding(s.mount.options.Dialect, r); err != nil {
		var panicked *callback.PanicError
		if errors.As(err, &panicked) {
			return e.crashedBy(err)
		}
		e.gate.Refusals.Version.Add(1)
		e.log.Warn("protocol version refused").Err(err).Str("path", r.URL.Path).Write()
		return admission.Forbidden
	}
	start := time.Now()
	if connect := s.mount.options.Connect; connect != nil {
		if err := callConnect(ctx, connect, s, r); err != nil {
			return e.connectRefusal(err, r)
		}
	}
	s.logAccepted(r, start)
	return nil
}

// chooseEncoding asks a dialect for the serializer of a new socket.
func (s *Socket) chooseEncoding(dialect wire.Dialect, r *Request) (err error) {
	defer callback.Recover("Dialect", &err)
	_, hasVersion := r.Params["vsn"]
	serializer, err := dialect(wire.Offer{Version: r.Params.Get("vsn"), HasVersion: hasVersion, TextOnly: s.key.Framing.TextOnly()})
	if err != nil {
		return err
	}
	s.key.Encoding, err = frames.EncodingOf(serializer)
	return err
}

// connectRefusal is the answer to a client that Connect refused with err.
func (e *Endpoint) connectRefusal(err error, r *Request) *admission.Refusal {
	var panicked *callback.PanicError
	if errors.As(err, &panicked) {
		return e.crashedBy(err)
	}
	e.gate.Refusals.Denied.Add(1)
	e.log.Debug("connect refused").Err(err).Str("path", r.URL.Path).Addr("address", r.RemoteAddr).Write()
	var custom *RefusedError
	if errors.As(err, &custom) {
		return custom.refusal()
	}
	return admission.Forbidden
}

func askOrigin(check OriginCheck, r *Request) (allowed bool, err error) {
	defer callback.Recover("CheckOrigin", &err)
	origin := admission.RequestOrigin(r.Header)
	return origin == nil || check(r, origin), nil
}

func callConnect(ctx context.Context, connect func(context.Context, *Socket, *Request) error, s *Socket, r *Request) (err error) {
	defer callback.Recover("Connect", &err)
	s.inConnect = true
	defer func() { s.inConnect = false }()
	return connect(ctx, s, r)
}

// crashedBy is the answer to a client for which the application panicked.
func (e *Endpoint) crashedBy(err error) *admission.Refusal {
	e.reportPanic(err)
	e.gate.Refusals.Crashed.Add(1)
	return admission.Crashed
}
