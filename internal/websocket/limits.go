package websocket

// DefaultMaxFrame is the default largest payload of one frame, in bytes: what
// Phoenix's servers allow by default (Bandit's max_frame_size).
const DefaultMaxFrame = 10_000_000

// MaxFields is how many header fields a request may have: each costs more than
// its bytes. Browsers behind proxies send up to 40; Apache and Cowboy allow 100.
const MaxFields = 100

const (
	// maxControlPayload is the largest payload of a control frame in bytes
	// (RFC 6455, 5.5).
	maxControlPayload = 125

	// maxClientHead is the largest head of a masked frame in bytes: two, eight
	// of extended length, four of mask (RFC 6455, 5.2).
	maxClientHead = 14

	// MaxHeaderSize is the largest head that PutHeader writes, in bytes: two
	// and eight of extended length. A server does not mask.
	MaxHeaderSize = 10
)

// Limits bounds what a peer may send. Only payload bytes count, not heads
// (Bandit counts the head, Cowboy does not; see the recordings
// ws_frame_payload_at_limit). Exceeding a limit closes with 1009. One Limits
// may be shared by all connections of an endpoint, which must not change it
// while it is in use.
type Limits struct {
	// MaxFrame is the largest payload of one data frame in bytes; 0 means
	// DefaultMaxFrame.
	MaxFrame int
	// MaxMessage is the largest message in bytes, the sum of its fragments; 0
	// means MaxFrame, so that fragmenting a message gains nothing. A compressed
	// message is bounded before and after decompression.
	MaxMessage int
}

const (
	// minDeflate is the smallest message in bytes that is compressed. Smaller
	// ones fit one packet anyway and shrink less: chat in JSON by an eighth at
	// 128 bytes, three tenths at 256, nearly half at 512.
	minDeflate = 512
	// maxDeflate is the largest message that is compressed. A broadcast is
	// compressed on a loop, at 50 to 100 MB a second, so others wait for it 20
	// ms at most.
	maxDeflate = 1 << 20
	// freeRatio is how many times its size a compressed message may inflate to
	// without being reported to HandleOverhead. JSON of lists and chats reaches
	// 3 to 10, runs of one character 1,000.
	freeRatio = 100
	// inflateUnit is how many bytes beyond freeRatio count as one unit of
	// overhead: inflating them takes about as long as handling a small frame.
	inflateUnit = 4 << 10
	// smallFragment is the size in bytes below which a fragment counts as a
	// unit of overhead. Clients that fragment messages use buffers of 4 KiB and
	// more.
	smallFragment = 1 << 10
	// inflateGuess is how many times its size a message is expected to inflate
	// to.
	inflateGuess = 4
)

var defaultLimits Limits

func (l *Limits) maxFrame() int {
	if l.MaxFrame > 0 {
		return l.MaxFrame
	}
	return DefaultMaxFrame
}

func (l *Limits) maxMessage() int {
	if l.MaxMessage > 0 {
		return l.MaxMessage
	}
	return l.maxFrame()
}
