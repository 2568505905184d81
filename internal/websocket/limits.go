package websocket

// DefaultMaxFrame is the largest payload of one frame, in bytes, where Limits
// gives none: what Phoenix's servers allow by default (Bandit's
// max_frame_size).
const DefaultMaxFrame = 10_000_000

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

// Limits bounds what a peer may send. Payload bytes alone count, after
// unmasking and without heads (Bandit counts the head, Cowboy does not; see
// the recordings ws_frame_payload_at_limit). Crossing one closes with 1009.
// One Limits may be shared by all connections of an endpoint, which must not
// change it while it is in use.
type Limits struct {
	// MaxFrame is the largest payload of one data frame in bytes; 0 means
	// DefaultMaxFrame.
	MaxFrame int
	// MaxMessage is the largest message in bytes, the sum of its fragments; 0
	// means MaxFrame, so that cutting a message into fragments gains nothing.
	MaxMessage int
}

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
