package bench

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strconv"
)

// The handshake uses one fixed key, so its answer is a constant; RFC 6455 has both.
const (
	handshakeKey    = "dGhlIHNhbXBsZSBub25jZQ=="
	handshakeAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// maskKey masks all frames. A fixed key is enough without secrets and proxies.
const maskKey uint32 = 0x6d79636c

// appendFrame appends a final masked frame.
func appendFrame(dst []byte, op byte, payload []byte) []byte {
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x80|op, 0x80|byte(n))
	case n < 1<<16:
		dst = append(dst, 0x80|op, 0x80|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, 0x80|op, 0x80|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	dst = binary.LittleEndian.AppendUint32(dst, maskKey)
	start := len(dst)
	dst = append(dst, payload...)
	mask(dst[start:])
	return dst
}

func mask(b []byte) {
	const wide = uint64(maskKey)<<32 | uint64(maskKey)
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(maskKey >> (8 * (i & 3)))
	}
}

// frameHead is the head of a frame that a server sent.
type frameHead struct {
	op     byte
	final  bool
	size   int // of the head
	length int // of the payload
}

var errBadFrame = errors.New("a frame that no server may send")

// maxFrame is more than any server sends.
const maxFrame = 1 << 30

// readHead reads a head; its size is 0 while b is too short for it.
func readHead(b []byte) (h frameHead, err error) {
	if len(b) < 2 {
		return h, nil
	}
	if b[0]&0x70 != 0 || b[1]&0x80 != 0 {
		return h, errBadFrame
	}
	h = frameHead{op: b[0] & 15, final: b[0]&0x80 != 0, size: 2, length: int(b[1])}
	switch {
	case h.length == 126 && len(b) >= 4:
		h.size, h.length = 4, int(binary.BigEndian.Uint16(b[2:]))
	case h.length == 127 && len(b) >= 10:
		length := binary.BigEndian.Uint64(b[2:])
		if length > maxFrame {
			return h, errBadFrame
		}
		h.size, h.length = 10, int(length)
	case h.length >= 126:
		return frameHead{}, nil
	}
	return h, nil
}

func closeReason(payload []byte) string {
	if len(payload) < 2 {
		return "the server closed the connection without a code"
	}
	code := int(payload[0])<<8 | int(payload[1])
	return "the server closed the connection with " + closeCode(code) + reasonText(payload[2:])
}

func reasonText(reason []byte) string {
	if len(reason) == 0 {
		return ""
	}
	return ": " + string(bytes.ToValidUTF8(reason, []byte("?")))
}

func closeCode(code int) string {
	names := map[int]string{
		1000: " (normal)", 1001: " (going away)", 1002: " (protocol error)", 1007: " (bad UTF-8)", 1008: " (policy)",
		1009: " (too large)", 1011: " (internal error)", 1012: " (restart)", 1013: " (try again later)",
	}
	return strconv.Itoa(code) + names[code]
}
