package websocket

import "encoding/binary"

// A message can be compressed in parts, so that a part has the same bytes in
// every message. Each part is compressed without reference to the bytes before
// it and flushed, so that it ends at a byte boundary; blocks may follow each
// other in any order (RFC 1951, 3.2.3). Bytes that belong to one message only
// are left uncompressed between the parts.

const (
	// StoredHead is the size in bytes of the head of an uncompressed block.
	StoredHead = 5
	// MaxStored is the most bytes in such a block, after its head.
	MaxStored = 1<<16 - 1
)

// flushed ends the output of Flush; at the end of a message it is left out (RFC
// 7692, 7.2.1).
var flushed = []byte{0, 0, 0xff, 0xff}

// CompressPart returns text as blocks for any place in a compressed message
// except its end, or nil if it cannot be compressed. The caller owns them. Any
// goroutine.
func CompressPart(text []byte) []byte {
	c := compressedFrames.Get().(*CompressedFrame)
	defer c.Release()
	c.out.b = c.out.b[:0]
	c.writer.Reset(&c.out)
	_, err := c.writer.Write(text)
	if err == nil {
		err = c.writer.Flush()
	}
	if err != nil {
		return nil
	}
	return append(append(make([]byte, 0, len(c.out.b)+len(flushed)), c.out.b...), flushed...)
}

// PutStored writes to b, which has StoredHead bytes, the head of an
// uncompressed block of n bytes, at most MaxStored.
func PutStored(b []byte, n int) {
	b[0] = 0
	binary.LittleEndian.PutUint16(b[1:], uint16(n))
	binary.LittleEndian.PutUint16(b[3:], ^uint16(n))
}

// StoredEnd returns text, which has at most MaxStored bytes, as the
// uncompressed end of a compressed message.
func StoredEnd(text string) []byte {
	b := make([]byte, StoredHead, StoredHead+len(text)+1)
	PutStored(b, len(text))
	return append(append(b, text...), 0) // an empty block, without flushed
}

// PutCompressedHeader is PutHeader for a compressed message of n bytes.
func PutCompressedHeader(b []byte, op Op, n int) (size int) { return PutHeader(b, op|bitRSV1, n) }

// TakesParts reports whether messages compressed in parts may be sent, of any
// size: CompressPart uses the largest window.
func (d Deflate) TakesParts() bool { return d >= fullWindow }
