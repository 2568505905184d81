package channels

import (
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/front"
	"github.com/mycelium-rt/mycelium/internal/share"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// Limits bound what clients may use. A zero field means its default. By default
// rates and numbers of connections are not limited. A negative value means
// unlimited where the field says so.
type Limits struct {
	// MaxMessage is the largest message, and the largest frame, that a client
	// may send, in bytes. A larger one closes its socket with 1009. Default
	// 10,000,000, as Phoenix on Bandit. A connection holds only the bytes that
	// have arrived. The body of a long-poll POST may be as large but has at
	// most 8,000,000 bytes, as in Phoenix; a larger one is answered with 413,
	// and the session continues.
	MaxMessage int
	// MaxChannels is how many channels a socket may have joined at a time
	// (Phoenix's max_channels_per_transport). Default 100.
	MaxChannels int
	// TopicsPerChannel is how many topics one channel may have subscribed to
	// with [Context.Subscribe] and [Context.Forward]; further calls return
	// ErrTooManyTopics. The topics count against SocketBytes too. Default
	// 1,000; negative: unlimited.
	TopicsPerChannel int
	// SocketBytes bounds the memory that the channels of one socket use for
	// their topics and refs, and what the program counts with [Context.Keep],
	// as presence does for keys and metas. A join above it is answered with the
	// error {"reason":"too many bytes in topics and presences"}; every eighth
	// join is checked. Default 256 KiB; negative: unlimited.
	SocketBytes int
	// MailboxMessages and MailboxBytes bound what waits for one channel whose
	// callback is busy. While a mailbox is full, its socket is not read until
	// half of the mailbox is done, so that the client waits and nothing is
	// lost; Send returns ErrMailboxFull, and an intercepted broadcast ends the
	// channel as below. Defaults 1,000 and 1 MiB. An empty mailbox accepts a
	// message of any size, and the message that fills it is accepted too.
	MailboxMessages int
	MailboxBytes    int
	// MailboxWait is how long a full mailbox may keep a socket from being read.
	// After it the channel ends with ErrMailboxFull, and its client gets
	// phx_error {"reason":"channel overloaded"} and joins again. Heartbeats are
	// not answered meanwhile, so it must be less than the 30 s after which
	// phoenix.js gives up a silent server. Default 10 s.
	MailboxWait time.Duration
	// OutboundBytes bounds what waits to be written to one connection, or for
	// the next poll of one long-poll session; Options.SlowReceiver says what
	// happens then. It must not be smaller than the largest message that is
	// sent. Default 4 MiB.
	OutboundBytes int
	// SendBuffer is how many bytes the kernel buffers for a connection whose
	// client does not read, before frames wait in this process (SO_SNDBUF).
	// Linux uses twice the value, and at most net.core.wmem_max. 0 leaves it to
	// the kernel, which buffers up to 4 MiB (net.ipv4.tcp_wmem).
	SendBuffer int
	// JoinTimeout bounds a join callback; after it the join is answered with
	// the error {"reason":"join timeout"}. Default 10 s, after which phoenix.js
	// no longer waits for the answer; negative: none.
	JoinTimeout time.Duration

	// HeaderBytes bounds the request line and header fields of each request,
	// and the trailers of a chunked body. A larger request, and one with more
	// than 100 header fields, is answered with 431. Default 16 KiB.
	HeaderBytes int
	// HandshakeTimeout is how long a client may take to send the header of a
	// request, and Connect to decide, after which the client gets a 503. It
	// also bounds each pause while a client sends a body or reads an answer,
	// and, with one more second for every 8 KiB, the whole of either. A handler
	// of Options.Handler can set other deadlines with http.ResponseController.
	// Default 10 s.
	HandshakeTimeout time.Duration
	// MaxConnections bounds all connections of the endpoint, including those of
	// net/http. A further connection replaces the one that has been without a
	// request for longest; if there is none, it is closed. A long-poll session
	// counts as one, in addition to the connections of its requests, and is
	// refused with 503. Connections of another net/http server that serves the
	// endpoint do not count. 0: unlimited.
	MaxConnections int
	// MaxConnectionsPerAddress bounds the connections of one IP address, or of
	// one /64 of IPv6. 0: unlimited.
	MaxConnectionsPerAddress int
	// AddressShare is the part of MaxConnections, in percent of what other
	// addresses leave, that one public address may use, so that a few clients
	// cannot use all of it. Addresses of this machine and of private networks
	// are not bounded, because they may be proxies whose clients cannot be told
	// apart; with Options.TrustedProxies, all addresses but the proxies' are.
	// Default 25; 100 or negative: not bounded.
	AddressShare int
	// HandshakesPerSecond is the rate at which sockets are admitted. Above it a
	// handshake is answered with 503, and clients retry with their own
	// back-off. 0: unlimited.
	HandshakesPerSecond int
	// HandshakeWait is how long clients may wait to be served when more come
	// than the machine can serve, as after a restart. Above it, handshakes are
	// answered with 503, and TLS connections are closed before their handshake.
	// From half of it on, handshakes of clients that do not name a session
	// (docs/history.md) are answered with 503 too. Meanwhile clients that have
	// joined are served first. It must be less than a client waits for the
	// answer to a join: phoenix.js waits for 10 s, and 5 s are a good value. 0:
	// there is no bound, and all clients are served in turn.
	HandshakeWait time.Duration
	// JoinsPerSecond and MessagesPerSecond are rates of one socket, with a
	// burst of one second's worth. A join above the rate is answered with the
	// error {"reason":"too many joins"}, a message with {"reason":"too many
	// messages"}. Heartbeats do not count. 0: unlimited.
	JoinsPerSecond    int
	MessagesPerSecond int
	// HeartbeatsPerSecond bounds the other work that one socket causes:
	// heartbeats, pings, pongs, joins and messages that the other rates refuse,
	// fragments of less than 1 KiB, and each 4 KiB that a compressed message
	// inflates to beyond 100 times its size. A socket above the rate is not
	// read until the excess is made up for, at most 10 s, so that TCP slows its
	// client down; compressed messages that have been read wait too. At most
	// 65,535. 0: unlimited, except that frames that are not messages then have the rate of
	// MessagesPerSecond.
	HeartbeatsPerSecond int
	// BytesPerSecond is a rate of one socket too: of the bytes in its messages,
	// after decompression. A message above it is refused like one above
	// MessagesPerSecond, and one that is larger than a second's worth always
	// is. Twice as many bytes may arrive in all, including control frames and
	// unfinished messages; above that the socket is not read for a while, as
	// for HeartbeatsPerSecond. 0: unlimited.
	BytesPerSecond int
	// TotalJoinsPerSecond, TotalMessagesPerSecond and TotalBytesPerSecond are
	// the same rates for all sockets of the endpoint together. 0: unlimited.
	TotalJoinsPerSecond    int
	TotalMessagesPerSecond int
	TotalBytesPerSecond    int
}

// joinNameBytes bounds a topic together with the refs of its join. They are
// kept as long as the channel, and without the bound one connection could hold
// MaxMessage times MaxChannels, a gigabyte. Binary frames have room for 255
// bytes of a topic.
const joinNameBytes = 4096

// rejoinWait is how long a new channel waits for the callback of the one that
// it replaces, like Phoenix's shutdown_duplicate_channel
// (lib/phoenix/socket.ex). Only tests change it.
var rejoinWait = 5 * time.Second

// closeGrace is how long a connection has to take its queued frames, including
// the Close frame, before its descriptor is closed.
const closeGrace = 5 * time.Second

// refusalGrace is the same for a connection that broke the protocol.
const refusalGrace = front.RefusalGrace

func (l Limits) withDefaults() Limits {
	setDefault(&l.MaxMessage, websocket.DefaultMaxFrame)
	setDefault(&l.MaxChannels, 100)
	setDefault(&l.TopicsPerChannel, 1000)
	setDefault(&l.SocketBytes, 256<<10)
	setDefault(&l.MailboxMessages, 1000)
	setDefault(&l.MailboxBytes, 1<<20)
	setDefault(&l.MailboxWait, 10*time.Second)
	setDefault(&l.OutboundBytes, 4<<20)
	setDefault(&l.AddressShare, share.Default)
	setDefault(&l.HeaderBytes, 16<<10)
	setDefault(&l.HandshakeTimeout, 10*time.Second)
	setDefault(&l.JoinTimeout, 10*time.Second)
	return l
}

// admission returns the limits of all connections together.
func (l *Limits) admission() admission.Limits {
	return admission.Limits{
		MaxConnections: l.MaxConnections, MaxConnectionsPerAddress: l.MaxConnectionsPerAddress,
		AddressShare: l.AddressShare, HandshakesPerSecond: l.HandshakesPerSecond, HandshakeWait: l.HandshakeWait,
	}
}

// handshakes returns netloop.Options.Handshakes.
func (l *Limits) handshakes() int {
	if l.HandshakeWait > 0 {
		return 0
	}
	return -1
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
