package conformance

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Opcodes of RFC 6455, section 5.2.
const (
	opContinuation = 0
	opText         = 1
	opBinary       = 2
	opClose        = 8
	opPing         = 9
	opPong         = 10
)

// rsv1 is the bit of a compressed message among the three reserved bits.
const rsv1 = 4

// maxServerFrame bounds the size of a frame. The largest recorded answer has 200 kB.
const maxServerFrame = 64 << 20

// rawFrame is a frame on the wire, which may be invalid.
type rawFrame struct {
	opcode  int
	fin     bool
	rsv     int
	masked  bool
	payload []byte
}

// plainFrame returns a final, masked frame.
func plainFrame(opcode int, payload []byte) rawFrame {
	return rawFrame{opcode: opcode, fin: true, masked: true, payload: payload}
}

// raw returns a recorded frame, with its text expanded by fill.
func (f Frame) raw(fill func(string) (string, error)) (rawFrame, error) {
	out := rawFrame{opcode: opText, fin: true, masked: true, rsv: f.RSV}
	if f.Opcode != nil {
		out.opcode = *f.Opcode
	}
	if f.Fin != nil {
		out.fin = *f.Fin
	}
	if f.Masked != nil {
		out.masked = *f.Masked
	}
	if f.Hex != nil {
		payload, err := hex.DecodeString(*f.Hex)
		out.payload = payload
		return out, err
	}
	if f.Text != nil {
		text, err := fill(*f.Text)
		out.payload = []byte(text)
		return out, err
	}
	return out, nil
}

// appendTo appends the frame to dst. It does not change the payload.
func (f rawFrame) appendTo(dst []byte) []byte {
	first := byte(f.rsv&7)<<4 | byte(f.opcode&15)
	if f.fin {
		first |= 0x80
	}
	var mask byte
	if f.masked {
		mask = 0x80
	}
	switch n := len(f.payload); {
	case n <= 125:
		dst = append(dst, first, mask|byte(n))
	case n <= 0xffff:
		dst = append(dst, first, mask|126)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	default:
		dst = append(dst, first, mask|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	if !f.masked {
		return append(dst, f.payload...)
	}
	var key [4]byte
	_, _ = rand.Read(key[:]) // never fails (crypto/rand)
	dst = append(dst, key[:]...)
	for i, c := range f.payload {
		dst = append(dst, c^key[i%4])
	}
	return dst
}

// closePayload returns the payload of a close frame. Without a code it is empty.
func closePayload(code *int, reason string) []byte {
	if code == nil || *code == noCode {
		return nil
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(*code)), reason...)
}

// readFrame reads a frame, masked or not.
func readFrame(r *bufio.Reader) (rawFrame, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return rawFrame{}, err
	}
	f := rawFrame{
		opcode: int(head[0] & 15), fin: head[0]&0x80 != 0, rsv: int(head[0]>>4) & 7,
		masked: head[1]&0x80 != 0,
	}
	size, err := readLength(r, head[1]&0x7f)
	if err != nil {
		return f, err
	}
	var key [4]byte
	if f.masked {
		if _, err := io.ReadFull(r, key[:]); err != nil {
			return f, err
		}
	}
	f.payload = make([]byte, size)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return f, err
	}
	if f.masked {
		for i := range f.payload {
			f.payload[i] ^= key[i%4]
		}
	}
	return f, nil
}

// violation is a breach of RFC 6455 or 7692 by the server.
type violation struct{ text string }

func (v violation) Error() string { return "not legal: " + v.text }

func violationf(format string, args ...any) error { return violation{fmt.Sprintf(format, args...)} }

func isViolation(err error) bool {
	var v violation
	return errors.As(err, &v)
}

// readLength reads the extended length; RFC 6455 wants the shortest form.
func readLength(r *bufio.Reader, short byte) (uint64, error) {
	switch short {
	case 126:
		var b [2]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return 0, err
		}
		n := uint64(binary.BigEndian.Uint16(b[:]))
		if n < 126 {
			return 0, violationf("length %d in 16 bits", n)
		}
		return n, nil
	case 127:
		var b [8]byte
		if _, err := io.ReadFull(r, b[:]); err != nil {
			return 0, err
		}
		n := binary.BigEndian.Uint64(b[:])
		if n <= 0xffff || n > maxServerFrame {
			return 0, violationf("length %d in 64 bits", n)
		}
		return n, nil
	}
	return uint64(short), nil
}
