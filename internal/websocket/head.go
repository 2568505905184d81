package websocket

import (
	"encoding/binary"
)

// frameHead is the head of a client's frame.
type frameHead struct {
	length int
	mask   [4]byte
	op     Op
	fin    bool
	// compressed is set on the first frame of a compressed message.
	compressed bool
}

// parseHead reads the head at the start of b and returns its size in bytes, or
// 0 if b does not hold all of it. Every byte is checked as soon as it is there,
// in order, so that the error for a stream does not depend on how it was cut.
func (d *decoding) parseHead(b []byte) (head frameHead, size int, err *CloseError) {
	if len(b) < 1 {
		return head, 0, nil
	}
	head.fin = b[0]&bitFin != 0
	head.compressed = b[0]&bitRSV1 != 0
	head.op = Op(b[0] & bitsOp)
	if err := d.checkFirstByte(b[0]); err != nil {
		return head, 0, err
	}
	if len(b) < 2 {
		return head, 0, nil
	}
	short := b[1] & bitsLen
	switch {
	case b[1]&bitMask == 0:
		return head, 0, errNotMasked
	case head.op.IsControl() && short > maxControlPayload:
		return head, 0, errControlLength
	}
	length, at := uint64(short), 2
	switch short {
	case len16Mark:
		at = 4
	case len64Mark:
		at = 10
	}
	if len(b) < at {
		return head, 0, nil
	}
	// A length in a longer form than necessary is accepted: it violates RFC
	// 6455, 5.2, but it is unambiguous.
	switch at {
	case 4:
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 10:
		length = binary.BigEndian.Uint64(b[2:])
	}
	if err := d.checkLength(head.op, length); err != nil {
		return head, 0, err
	}
	head.length = int(length)
	if len(b) < at+4 {
		return head, 0, nil
	}
	head.mask = [4]byte(b[at:])
	return head, at + 4, nil
}

// checkFirstByte checks reserved bits, opcode, and whether the frame may follow
// the previous one (RFC 6455, 5.2 and 5.4). RSV1 is legal on the first frame of
// a message if compression was negotiated (RFC 7692, 6).
func (d *decoding) checkFirstByte(b byte) *CloseError {
	op := Op(b & bitsOp)
	rsv := b & bitsRSV
	if d.Deflate != NoDeflate && (op == OpText || op == OpBinary) {
		rsv &^= bitRSV1
	}
	switch {
	case rsv != 0:
		return errReservedBits
	case !op.isKnown():
		return errReservedOp
	case op.IsControl():
		if b&bitFin == 0 {
			return errControlFragment
		}
	case op == OpContinuation:
		if !d.inMessage {
			return errNoMessage
		}
	case d.inMessage:
		return errInMessage
	}
	return nil
}

// checkLength checks a claimed payload size against the limits, before a byte
// of it has come.
func (d *decoding) checkLength(op Op, length uint64) *CloseError {
	limits := d.limits
	switch {
	case length > 1<<63-1:
		return errLength
	case op.IsControl():
		return nil
	case length > uint64(limits.maxFrame()):
		return errFrameTooBig
	case length > uint64(max(0, limits.maxMessage()-d.held())):
		return errMessageTooBig
	}
	return nil
}
