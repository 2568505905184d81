package channels

import (
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/front"
	"github.com/mycelium-rt/mycelium/internal/share"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// Limits bound what clients may use. A zero field has the default named with
// it; rates and connection counts are unlimited by default, and a negative
// value means unlimited for the others too where that is said.
type Limits struct {
	// MaxMessage is the largest message and the largest frame a client may
	// send; a larger one closes its socket with 1009. Default 10,000,000, as
	// Phoenix on Bandit. A connection holds only what has arrived. The body of a
	// long-poll POST may be as large, but has at most 8,000,000 bytes, as in
	// Phoenix; above it the answer is 413 and the session goes on.
	MaxMessage int
	// MaxChannels is Phoenix's max_channels_per_transport. Default 100.
	MaxChannels int
	// TopicsPerChannel bounds the topics that one channel has subscribed to by
	// [Context.Subscribe] and [Context.Forward]; more get ErrTooManyTopics. They
	// count against SocketBytes too, which one channel alone cannot exceed by them. Default 1,000;
	// negative: unlimited.
	TopicsPerChannel int
	// SocketBytes bounds what the channels of one socket keep: their topics and
	// refs, and what the program counts by [Context.Keep], as presence does its
	// keys and metas. A join beyond it is answered with an error {"reason":"too
	// many bytes in topics and presences"}. It is looked at with every eighth
	// channel. Default 256 KiB; negative: unlimited.
	SocketBytes int
	// MailboxMessages and MailboxBytes bound what waits for one channel whose
	// callback is busy. When full, the socket is not read until half of it is
	// done, so that the client waits and nothing is lost. Send returns
	// ErrMailboxFull, and an intercepted broadcast ends the channel as below.
	// Defaults 1,000 and 1 MiB. One message is always taken, however large, and
	// so is the one that the mailbox has no room for.
	MailboxMessages int
	MailboxBytes    int
	// MailboxWait bounds how long a socket is not read because of a full mailbox.
	// After it a channel whose mailbox still is full ends with ErrMailboxFull;
	// its client gets phx_error {"reason":"channel overloaded"} and joins again.
	// Heartbeats are not answered meanwhile either: it must be less than the
	// 30 s after which phoenix.js gives up a silent server. Default 10 s.
	MailboxWait time.Duration
	// OutboundBytes bounds what waits to be written to one connection, or for
	// the next poll of one long-poll session; what
	// happens then is Options.SlowReceiver. Default 4 MiB. It must hold the
	// largest single message that is sent.
	OutboundBytes int
	// SendBuffer is what the kernel keeps for a connection that does not read,
	// in bytes, before anything of OutboundBytes waits: SO_SNDBUF, of which Linux
	// takes twice as much, and at most net.core.wmem_max. 0 leaves it to the
	// kernel, which keeps up to 4 MiB (net.ipv4.tcp_wmem).
	SendBuffer int
	// JoinTimeout bounds a join callback; the join is then answered with an
	// error {"reason":"join timeout"}. Default 10 s, the push timeout of
	// phoenix.js, after which nobody waits for the answer; negative: none.
	JoinTimeout time.Duration

	// HeaderBytes bounds the head of every request, and the trailers of a chunked
	// body. Above it, and above 100 header fields, the answer is 431. Default 16 KiB.
	HeaderBytes int
	// HandshakeTimeout is how long a client has to send the head of a request. It
	// is also how long it may neither go on sending a body nor go on reading an
	// answer; for either it has so much in all, and a second more for each 8 KiB.
	// A handler of Options.Handler sets other deadlines for its request with
	// http.ResponseController. Default 10 s.
	HandshakeTimeout time.Duration
	// MaxConnections bounds all connections of the endpoint, those of net/http
	// included; one more takes the place of the connection that has been without
	// a request for longest, or is closed at once if there is none. A long-poll session counts as one,
	// beside the connections of its requests, and gets 503. Connections of a
	// foreign net/http server that the endpoint is mounted in are that server's
	// to count. 0: unlimited.
	MaxConnections int
	// MaxConnectionsPerAddress bounds those of one IP address, of IPv6 those of one
	// /64. 0: unlimited.
	MaxConnectionsPerAddress int
	// AddressShare is how much one public address may have of what the others
	// leave of MaxConnections, in percent, so that a few clients cannot use it up.
	// Addresses of this machine and of private networks have no share, because they may be
	// those of proxies whose clients cannot be told apart. With Options.TrustedProxies
	// all addresses but those of the proxies have one. Default 25; 100 or negative: no shares.
	AddressShare int
	// HandshakesPerSecond is the rate at which sockets are admitted; above it
	// a handshake gets 503, and clients come back with their own back-off.
	// 0: unlimited.
	HandshakesPerSecond int
	// JoinsPerSecond and MessagesPerSecond are rates of one socket, with a
	// burst of one second's worth. A join above it is answered with an error
	// {"reason":"too many joins"}, a message {"reason":"too many messages"};
	// heartbeats are not counted. 0: unlimited.
	JoinsPerSecond    int
	MessagesPerSecond int
	// HeartbeatsPerSecond bounds the work that one socket causes beside its
	// messages: heartbeats, pings, pongs, what the other rates refuse, fragments
	// of less than 1 KiB, and every 4 KiB that a compressed message inflates to
	// beyond 100 times its size. A socket above it is held up: its bytes are left
	// to TCP, which slows its client down, for as long as what was too much is
	// worth, at most 10 s. Compressed messages that had been read before wait too. At most 65,535. 0: unlimited, but frames that are no
	// messages then have the rate of MessagesPerSecond.
	HeartbeatsPerSecond int
	// BytesPerSecond is a rate of one socket too, of what its messages have,
	// decompressed; a message above it counts as one too many. One that is larger
	// than a second's worth is never taken. Twice as many bytes may come over the
	// wire, control frames and unfinished messages included; beyond that the
	// socket is held up as for HeartbeatsPerSecond. 0: unlimited.
	BytesPerSecond int
	// TotalJoinsPerSecond, TotalMessagesPerSecond and TotalBytesPerSecond are
	// the same rates of all sockets of the endpoint together. 0: unlimited.
	TotalJoinsPerSecond    int
	TotalMessagesPerSecond int
	TotalBytesPerSecond    int
}

// joinNameBytes bounds a topic with the refs of its join: they are kept as long as
// the channel, and MaxMessage times MaxChannels would be a gigabyte for a
// connection. Binary frames have room for 255 bytes of a topic.
const joinNameBytes = 4096

// rejoinWait is how long a new channel waits for the callback of the one that
// it replaces. Phoenix: shutdown_duplicate_channel, lib/phoenix/socket.ex.
const rejoinWait = 5 * time.Second

// closeGrace is how long a connection has to take the frames that wait for it,
// the Close frame included, before its descriptor is closed.
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
		AddressShare: l.AddressShare, HandshakesPerSecond: l.HandshakesPerSecond,
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
