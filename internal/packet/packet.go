package packet

import (
	"encoding/binary"
	"math"
	"time"
	"unicode/utf8"

	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// Type is the byte that follows the length of a packet. Types that WebSockets have too
// are the opcodes of RFC 6455.
type Type byte

// The types. Client and server may send those that are opcodes. A client sends Connect as
// its first packet, and the server answers with Accepted or Refused.
const (
	Text     = Type(websocket.OpText)
	Binary   = Type(websocket.OpBinary)
	Connect  = Type(3)
	Accepted = Type(4)
	Refused  = Type(5)
	Close    = Type(websocket.OpClose)
	Ping     = Type(websocket.OpPing)
	Pong     = Type(websocket.OpPong)
)

const (
	// LengthSize is the size in bytes of the length, an unsigned number with the most
	// significant byte first. It counts the type and the body, as the packets of
	// Erlang's {packet, 4} do.
	LengthSize = 4
	// HeaderSize is the size in bytes of the length and the type.
	HeaderSize = LengthSize + 1
	// MaxControl bounds the body of a close, ping or pong, in bytes, as for WebSockets (RFC 6455, 5.5).
	MaxControl = 125
)

// PutHeader writes the header of a packet with a body of n bytes to b, which must have
// HeaderSize bytes.
func PutHeader(b []byte, t Type, n int) {
	binary.BigEndian.PutUint32(b, uint32(n+1))
	b[LengthSize] = byte(t)
}

// AppendHeader appends the header of a packet with a body of n bytes.
func AppendHeader(dst []byte, t Type, n int) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(n+1)), byte(t))
}

// Append appends a packet.
func Append(dst []byte, t Type, body []byte) []byte {
	return append(AppendHeader(dst, t, len(body)), body...)
}

// AppendClose appends a packet that says why the connection ends, with a code of RFC 6455.
// With code 0 it has no body. A reason that is too long is cut.
func AppendClose(dst []byte, code uint16, reason string) []byte {
	if code == 0 || code == websocket.CloseNoStatus {
		return AppendHeader(dst, Close, 0)
	}
	reason = shortened(reason, MaxControl-2)
	dst = AppendHeader(dst, Close, 2+len(reason))
	return append(binary.BigEndian.AppendUint16(dst, code), reason...)
}

// AppendCloseReply appends the answer to a peer's close: its code, without a reason.
func AppendCloseReply(dst, body []byte) []byte {
	code, _ := websocket.ParseClose(body)
	return AppendClose(dst, code, "")
}

// AppendAccepted appends the answer to a client that is admitted: how long it may be
// silent, in milliseconds, or 0 for no limit, and the largest message that it may send, in
// bytes. Both are unsigned numbers of 4 bytes.
func AppendAccepted(dst []byte, idle time.Duration, maxMessage int) []byte {
	dst = AppendHeader(dst, Accepted, 8)
	dst = binary.BigEndian.AppendUint32(dst, uint32(min(max(0, idle.Milliseconds()), math.MaxUint32)))
	return binary.BigEndian.AppendUint32(dst, uint32(min(max(0, int64(maxMessage)), math.MaxUint32)))
}

// maxReason is the longest reason of a refusal in bytes.
const maxReason = 1 << 10

// AppendRefused appends the answer to a client that is refused: an HTTP status, and after
// how many seconds the client may try again, or 0 if that is not known, each as an unsigned
// number of 2 bytes; and the reason as text.
func AppendRefused(dst []byte, status, retryAfter int, reason string) []byte {
	reason = shortened(reason, maxReason)
	dst = AppendHeader(dst, Refused, 4+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(status))
	dst = binary.BigEndian.AppendUint16(dst, uint16(min(max(0, retryAfter), math.MaxUint16)))
	return append(dst, reason...)
}

// shortened cuts text to at most n bytes, without splitting a character.
func shortened(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
