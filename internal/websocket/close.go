package websocket

import (
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

// Close codes (RFC 6455, 7.4.1 and the IANA registry).
const (
	CloseNormal         uint16 = 1000
	CloseGoingAway      uint16 = 1001
	CloseProtocolError  uint16 = 1002
	CloseNoStatus       uint16 = 1005 // never on the wire: a close frame without a code
	CloseInvalidPayload uint16 = 1007
	ClosePolicy         uint16 = 1008
	CloseTooBig         uint16 = 1009
	CloseInternal       uint16 = 1011
	CloseServiceRestart uint16 = 1012
)

// maxCloseReason is the longest reason in bytes: a control payload less the code.
const maxCloseReason = maxControlPayload - 2

// CloseError is a violation of the protocol by the peer. It ends the
// connection: send a close frame with Code, then close.
type CloseError struct {
	Code uint16
	// Reason is for our logs. Phoenix's servers send no reason with these
	// codes, so neither do we: AppendClose(dst, err.Code, "").
	Reason string
}

// Error returns the code and the reason.
func (e *CloseError) Error() string {
	return "websocket: " + strconv.Itoa(int(e.Code)) + " " + e.Reason
}

// Errors of a Decoder. They are shared values, so that a peer that sends
// garbage causes no allocation.
var (
	errReservedBits    = &CloseError{CloseProtocolError, "reserved bits are set"}
	errReservedOp      = &CloseError{CloseProtocolError, "reserved opcode"}
	errControlFragment = &CloseError{CloseProtocolError, "fragmented control frame"}
	errControlLength   = &CloseError{CloseProtocolError, "control frame of more than 125 bytes"}
	errNoMessage       = &CloseError{CloseProtocolError, "continuation of no message"}
	errInMessage       = &CloseError{CloseProtocolError, "new message before the end of the last one"}
	errNotMasked       = &CloseError{CloseProtocolError, "frame is not masked"}
	errLength          = &CloseError{CloseProtocolError, "length with its highest bit set"}
	errClosePayload    = &CloseError{CloseProtocolError, "close payload of one byte"}
	errCloseCode       = &CloseError{CloseProtocolError, "illegal close code"}
	errCloseReason     = &CloseError{CloseInvalidPayload, "close reason is not UTF-8"}
	errText            = &CloseError{CloseInvalidPayload, "text is not UTF-8"}
	errFrameTooBig     = &CloseError{CloseTooBig, "frame over the limit"}
	errMessageTooBig   = &CloseError{CloseTooBig, "message over the limit"}
	errDeflate         = &CloseError{CloseInvalidPayload, "compressed message is broken"}
)

// legalCloseCode reports whether a peer may send code. 1012 to 1014 were
// registered after RFC 6455 and are legal; 1004 to 1006 and 1015 are never
// sent, 1016 to 2999 are unassigned.
func legalCloseCode(code uint16) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return true
	}
	return false
}

// CheckClose returns what is wrong with the payload of a close frame, or nil.
func CheckClose(payload []byte) *CloseError {
	switch {
	case len(payload) == 0:
		return nil
	case len(payload) == 1:
		return errClosePayload
	case !legalCloseCode(binary.BigEndian.Uint16(payload)):
		return errCloseCode
	case !utf8.Valid(payload[2:]):
		return errCloseReason
	}
	return nil
}

// ParseClose splits the payload of a close frame that a Decoder has passed to
// HandleControl. Without a code it returns CloseNoStatus. The reason is a slice
// of payload.
func ParseClose(payload []byte) (code uint16, reason []byte) {
	if len(payload) < 2 {
		return CloseNoStatus, nil
	}
	return binary.BigEndian.Uint16(payload), payload[2:]
}

// AppendClose appends a close frame to dst. Codes 0 and CloseNoStatus give it
// no payload. A reason of more than 123 bytes is cut between two characters.
func AppendClose(dst []byte, code uint16, reason string) []byte {
	if code == 0 || code == CloseNoStatus {
		return AppendFrame(dst, OpClose, nil)
	}
	if len(reason) > maxCloseReason {
		end := maxCloseReason
		for end > 0 && !utf8.RuneStart(reason[end]) {
			end--
		}
		reason = reason[:end]
	}
	dst = append(dst, bitFin|byte(OpClose), byte(2+len(reason)))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, reason...)
}

// AppendCloseReply appends the answer to a peer's close frame with the given
// payload: the peer's own code without a reason, as Cowboy answers (Bandit
// always says 1000), or no code if there was none.
func AppendCloseReply(dst, payload []byte) []byte {
	code, _ := ParseClose(payload)
	return AppendClose(dst, code, "")
}
