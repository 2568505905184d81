package websocket

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"
)

// oracle says what a Decoder must find in a stream. It is written to be
// checked by eye, shares no code with the Decoder, and looks at the whole
// stream at once: the code of the error is 0 if there is none.
type oracle struct {
	maxFrame, maxMessage int
	deflate              bool

	events     []string
	message    []byte
	kind       byte // opcode of the open message, 0 if none is open
	compressed bool // the open message is
}

func (o *oracle) run(b []byte) (code uint16) {
	for len(b) > 0 {
		rest, code, done := o.frame(b)
		if done || code != 0 {
			return code
		}
		b = rest
	}
	return 0
}

// frame reads one frame; done means that no more can be read.
func (o *oracle) frame(b []byte) (rest []byte, code uint16, done bool) {
	op, fin := b[0]&15, b[0]>>7 == 1
	control := op == 8 || op == 9 || op == 10
	rsv1 := b[0]>>4&7 == 4 && o.deflate && (op == 1 || op == 2)
	legal := (b[0]>>4&7 == 0 || rsv1) &&
		(control && fin || op == 0 && o.kind != 0 || (op == 1 || op == 2) && o.kind == 0)
	if !legal {
		return nil, 1002, false
	}
	if len(b) < 2 {
		return nil, 0, true
	}
	size := uint64(b[1] & 127)
	if b[1] < 128 || control && size > 125 {
		return nil, 1002, false
	}
	b = b[2:]
	if extra := map[uint64]int{126: 2, 127: 8}[size]; extra > 0 {
		if len(b) < extra {
			return nil, 0, true
		}
		var eight [8]byte
		copy(eight[8-extra:], b)
		size = binary.BigEndian.Uint64(eight[:])
		b = b[extra:]
	}
	if size>>63 == 1 {
		return nil, 1002, false
	}
	if !control && (size > uint64(o.maxFrame) || size > uint64(o.maxMessage-len(o.message))) {
		return nil, 1009, false
	}
	if len(b) < 4 {
		return nil, 0, true
	}
	mask := b[:4]
	b = b[4:]
	payload := make([]byte, 0, len(b))
	for i := 0; i < len(b) && uint64(i) < size; i++ {
		payload = append(payload, b[i]^mask[i%4])
	}
	whole := uint64(len(payload)) == size
	if control {
		if !whole {
			return nil, 0, true
		}
		return b[size:], o.control(op, payload), op == 8
	}
	if op != 0 {
		o.kind, o.compressed = op, rsv1
	}
	o.message = append(o.message, payload...)
	if o.kind == 1 && !o.compressed && !extendable(o.message) {
		return nil, 1007, false
	}
	if !whole {
		return nil, 0, true
	}
	if fin {
		if o.compressed {
			if o.message, code = inflated(o.message, o.maxMessage); code != 0 {
				return nil, code, false
			}
		}
		if o.kind == 1 && !utf8.Valid(o.message) {
			return nil, 1007, false
		}
		o.events = append(o.events, fmt.Sprintf("%s %q", map[byte]string{1: "text", 2: "binary"}[o.kind], o.message))
		o.kind, o.message = 0, nil
	}
	return b[size:], 0, false
}

func (o *oracle) control(op byte, payload []byte) (code uint16) {
	if op == 8 && len(payload) > 0 {
		if len(payload) == 1 {
			return 1002
		}
		c := int(payload[0])<<8 | int(payload[1])
		if c < 1000 || c > 4999 || c >= 1004 && c <= 1006 || c >= 1015 && c <= 2999 {
			return 1002
		}
		if !utf8.Valid(payload[2:]) {
			return 1007
		}
	}
	o.events = append(o.events, fmt.Sprintf("control %x %q", op, payload))
	return 0
}

// inflated decompresses a message at its leisure: all of it, and then looks.
func inflated(b []byte, most int) (message []byte, code uint16) {
	most = min(most, max(65536, 100*len(b)))
	src := bytes.NewReader([]byte(string(b) + "\x00\x00\xff\xff\x01\x00\x00\xff\xff"))
	message, err := io.ReadAll(flate.NewReader(src))
	behind := src.Len() - 9 // bytes of b behind its final block
	switch {
	case len(message) > most:
		return nil, 1009
	case err != nil, behind > 1, behind == 1 && b[len(b)-1] != 0:
		return nil, 1007
	}
	return message, 0
}

// extendable reports whether some bytes behind p make it valid UTF-8.
func extendable(p []byte) bool {
	for cut := 0; cut <= 3 && cut <= len(p); cut++ {
		head, tail := p[:len(p)-cut], p[len(p)-cut:]
		if utf8.Valid(head) && (cut == 0 || !utf8.FullRune(tail)) {
			return true
		}
	}
	return false
}
