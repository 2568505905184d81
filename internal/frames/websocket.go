package frames

import (
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/prepared"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// webSocket is the framing of RFC 6455. A Compression is the websocket.Deflate
// that was agreed on.
type webSocket struct{}

// Room is for the longest header; the one that is needed is put right before the
// message.
func (webSocket) Room() int { return websocket.MaxHeaderSize }

func (webSocket) TextOnly() bool { return false }

func (webSocket) Finish(f *netloop.Frame, buf []byte, binary bool) *netloop.Frame {
	op := websocket.OpText
	if binary {
		op = websocket.OpBinary
	}
	size := websocket.PutHeader(buf[:websocket.MaxHeaderSize], op, len(buf)-websocket.MaxHeaderSize)
	f.SetBytes(buf[websocket.MaxHeaderSize-size:])
	return f
}

func (webSocket) takes(c Compression, f *netloop.Frame) bool {
	_, message := messageIn(f)
	return websocket.Deflate(c).Takes(len(message))
}

func (webSocket) compress(f *netloop.Frame) *netloop.Frame {
	c := websocket.Compress(messageIn(f))
	if c == nil {
		return nil
	}
	defer c.Release()
	z := netloop.NewFrame(len(c.Bytes()))
	z.Append(c.Bytes())
	return z
}

// messageIn takes a frame apart that Finish has made. The second byte tells which of
// three sizes its header has (RFC 6455 section 5.2).
func messageIn(f *netloop.Frame) (websocket.Op, []byte) {
	data, header := f.Bytes(), 2
	switch data[1] {
	case 126:
		header = 4
	case 127:
		header = websocket.MaxHeaderSize
	}
	return websocket.Op(data[0] & 0x0f), data[header:]
}

func (webSocket) chains() bool { return true }

func (w webSocket) share(buf, head []byte, parts []*prepared.Part, tail string, c Compression) (own []byte, rest [][]byte) {
	if websocket.Deflate(c).TakesParts() {
		if own, rest = w.shareDeflated(buf, head, parts, tail); own != nil {
			return own, rest
		}
	}
	rest = make([][]byte, 0, len(parts)+1)
	n := len(head) + len(tail)
	for _, part := range parts {
		rest = append(rest, part.Text())
		n += len(part.Text())
	}
	return withHeader(buf, websocket.PutHeader, n, head), append(rest, []byte(tail))
}

// deflatedForm is a part as blocks of a compressed message.
const deflatedForm = prepared.Form(WebSocket) << 8

// shareDeflated compresses each part by itself, once for all messages. It returns nil
// if that gains nothing.
func (webSocket) shareDeflated(buf, head []byte, parts []*prepared.Part, tail string) (own []byte, rest [][]byte) {
	if len(head) > websocket.MaxStored || len(tail) > websocket.MaxStored {
		return nil, nil
	}
	rest = make([][]byte, 0, len(parts)+1)
	plain, deflated := 0, 0
	for _, part := range parts {
		z := part.In(deflatedForm, websocket.CompressPart)
		if z == nil {
			return nil, nil
		}
		rest = append(rest, z)
		plain += len(part.Text())
		deflated += len(z)
	}
	if deflated >= plain {
		return nil, nil
	}
	stored := make([]byte, websocket.StoredHead, websocket.StoredHead+len(head))
	websocket.PutStored(stored, len(head))
	stored = append(stored, head...)
	end := websocket.StoredEnd(tail)
	return withHeader(buf, websocket.PutCompressedHeader, len(stored)+deflated+len(end), stored), append(rest, end)
}

// withHeader appends to buf the header of a text message of n bytes and what the
// message begins with.
func withHeader(buf []byte, put func([]byte, websocket.Op, int) int, n int, head []byte) []byte {
	var header [websocket.MaxHeaderSize]byte
	size := put(header[:], websocket.OpText, n)
	return append(append(buf, header[len(header)-size:]...), head...)
}
