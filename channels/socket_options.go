package channels

import (
	"context"
	"time"

	"github.com/mycelium-rt/mycelium/internal/websocket"
	"github.com/mycelium-rt/mycelium/wire"
)

// SocketOptions configure the socket at one path. The zero value accepts every
// client whose page comes from the same host.
type SocketOptions struct {
	// Connect decides whether a client may connect (Phoenix's connect/3). It may
	// give the socket an id and assigns. It may block; other connections do not
	// wait for it. Any error refuses the client with 403 and an empty body, as in
	// Phoenix; a [*RefusedError] chooses another answer. A panic is answered with
	// 500. ctx ends after Limits.HandshakeTimeout.
	Connect func(ctx context.Context, s *Socket, r *Request) error
	// ConnectOnLoop declares that Connect never blocks or computes for long. It
	// then runs on the event loop of its connection, without a goroutine and
	// without a timer for ctx. A Connect that blocks would hold up all connections
	// of the loop.
	ConnectOnLoop bool
	// ReuseRequest declares that Connect keeps only strings and copies of its
	// Request: no map, slice or pointer, and Params only as maps.Clone returns it.
	// The same memory then serves for the next client's Request.
	ReuseRequest bool
	// Path is what follows the socket's path for WebSockets. Default
	// "/websocket", which phoenix.js adds by itself. "/" adds nothing, for clients
	// that are given the whole address.
	Path string
	// CheckOrigin decides about requests with an Origin header. nil is [SameHost].
	CheckOrigin OriginCheck
	// OriginHelp says which pages may connect and how to allow others. It is part
	// of the answer to a refused page, and the field "allowed" of the log line. The
	// default names CheckOrigin.
	OriginHelp string
	// IdleTimeout is how long a client may send nothing before its socket is
	// closed. Default 60 s, twice the heartbeat of phoenix.js; negative: never.
	IdleTimeout time.Duration
	// AuthToken accepts a token as phoenix.js's option authToken sends it: in the
	// subprotocol base64url.bearer.phx.TOKEN or, with long polling, in the header
	// X-Phoenix-AuthToken. See [Request.AuthToken].
	AuthToken bool
	// Compress agrees to compression with clients that offer it (permessage-deflate,
	// RFC 7692). Messages of 512 bytes to 1 MiB are then sent compressed if that
	// makes them smaller; a broadcast is compressed once for all its receivers. A
	// message from a client that inflates beyond MaxMessage closes its socket with
	// 1009. Inflating to more than 100 times its size counts against
	// Limits.HeartbeatsPerSecond.
	Compress bool
	// Subprotocols are the accepted WebSocket subprotocols, in order of preference.
	// A client that offers only others is refused. With none, no subprotocol is
	// agreed on and any offer is accepted.
	Subprotocols []string
	// MaxMessage replaces Limits.MaxMessage, unless it is 0.
	MaxMessage int
	// Dialect is the protocol that the socket's clients speak; vsn in their query
	// selects its version. nil is [wire.Phoenix], versions 1.0.0 and 2.0.0. A
	// dialect changes the form of messages, not their meaning.
	Dialect wire.Dialect
	// Opened is called when a socket has connected, and Closed when it has ended,
	// after its last message. They run on the socket's event loop and must not
	// block. A panic in one is logged.
	Opened func(s *Socket)
	Closed func(s *Socket)
	// Outer is middleware around the joins and events of some topics, whichever
	// channel serves them. It may block.
	Outer *Outer
	// LongPoll serves clients whose WebSockets do not get through to the server.
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
