package websocket

import "encoding/binary"

// Op is the opcode of a frame (RFC 6455, 5.2).
type Op byte

// The opcodes in use; all others are reserved and refused with 1002.
const (
	OpContinuation Op = 0x0
	OpText         Op = 0x1
	OpBinary       Op = 0x2
	OpClose        Op = 0x8
	OpPing         Op = 0x9
	OpPong         Op = 0xa
)

// IsControl reports whether op is a control opcode, reserved ones included.
func (op Op) IsControl() bool { return op&0x8 != 0 }

// isKnown reports whether op is not reserved.
func (op Op) isKnown() bool {
	return op <= OpBinary || op >= OpClose && op <= OpPong
}

const (
	bitFin    = 0x80 // first byte: the last fragment of its message
	bitsRSV   = 0x70 // first byte: RSV1 to RSV3, for extensions
	bitRSV1   = 0x40 // first byte: the message is compressed (RFC 7692, 6)
	bitsOp    = 0x0f // first byte: the opcode
	bitMask   = 0x80 // second byte: a masking key follows
	bitsLen   = 0x7f // second byte: the length, or one of the next two
	len16Mark = 126  // the length is in the next 2 bytes
	len64Mark = 127  // the length is in the next 8 bytes
)

// HeaderSize returns the size in bytes of the head that PutHeader writes for a
// payload of n bytes: 2, 4 or 10.
func HeaderSize(n int) int {
	switch {
	case n < len16Mark:
		return 2
	case n <= 0xffff:
		return 4
	}
	return MaxHeaderSize
}

// PutHeader writes the head of an unmasked, unfragmented frame with a payload
// of n bytes into the last HeaderSize(n) bytes of dst, so that it stands right
// before a payload that follows dst in memory, and returns HeaderSize(n).
// Leave MaxHeaderSize bytes before a payload whose size is not known yet. It
// panics if dst is too short.
func PutHeader(dst []byte, op Op, n int) int {
	size := HeaderSize(n)
	head := dst[len(dst)-size:]
	head[0] = bitFin | byte(op)
	switch size {
	case 2:
		head[1] = byte(n)
	case 4:
		head[1] = len16Mark
		binary.BigEndian.PutUint16(head[2:], uint16(n))
	default:
		head[1] = len64Mark
		binary.BigEndian.PutUint64(head[2:], uint64(n))
	}
	return size
}

// AppendFrame appends an unmasked, unfragmented frame to dst.
func AppendFrame(dst []byte, op Op, payload []byte) []byte {
	return append(AppendHeader(dst, op, len(payload)), payload...)
}

// AppendHeader appends the head of a frame with a payload of n bytes, as PutHeader
// writes it.
func AppendHeader(dst []byte, op Op, n int) []byte {
	var head [MaxHeaderSize]byte
	size := PutHeader(head[:], op, n)
	return append(dst, head[MaxHeaderSize-size:]...)
}
