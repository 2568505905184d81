package frames

import (
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/packet"
	"github.com/mycelium-rt/mycelium/internal/prepared"
)

// tcp is the framing of raw TCP: package packet.
type tcp struct{}

func (tcp) Room() int { return packet.HeaderSize }

func (tcp) TextOnly() bool { return false }

func (tcp) Finish(f *netloop.Frame, buf []byte, binary bool) *netloop.Frame {
	t := packet.Text
	if binary {
		t = packet.Binary
	}
	packet.PutHeader(buf, t, len(buf)-packet.HeaderSize)
	f.SetBytes(buf)
	return f
}

func (tcp) chains() bool { return true }

func (tcp) share(buf, head []byte, parts []*prepared.Part, tail string, _ Compression) (own []byte, rest [][]byte) {
	rest = make([][]byte, 0, len(parts)+1)
	n := len(head) + len(tail)
	for _, part := range parts {
		rest = append(rest, part.Text())
		n += len(part.Text())
	}
	return append(packet.AppendHeader(buf, packet.Text, n), head...), append(rest, []byte(tail))
}
