package websocket

import (
	"encoding/binary"
	"fmt"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// events records what a Decoder calls, as one string each.
type events struct {
	got []string
	err error // returned by every call
}

func (e *events) HandleMessage(binaryMessage bool, payload []byte) error {
	kind := "text"
	if binaryMessage {
		kind = "binary"
	}
	e.got = append(e.got, fmt.Sprintf("%s %q", kind, payload))
	return e.err
}

func (e *events) HandleOverhead(int) error { return nil }

func (e *events) HandleControl(op Op, payload []byte) error {
	e.got = append(e.got, fmt.Sprintf("control %x %q", byte(op), payload))
	return e.err
}

// frame appends a masked frame the slow and plain way: first is the first
// byte, so that reserved bits and opcodes can be said.
func frame(dst []byte, first byte, payload string) []byte {
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	dst = append(dst, first)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0xfe), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0xff), uint64(n))
	}
	dst = append(dst, mask[:]...)
	for i := range len(payload) {
		dst = append(dst, payload[i]^mask[i%4])
	}
	return dst
}

// stream is several frames: first byte and payload in turn.
func stream(parts ...any) []byte {
	var b []byte
	for i := 0; i < len(parts); i += 2 {
		b = frame(b, byte(parts[i].(int)), parts[i+1].(string))
	}
	return b
}
