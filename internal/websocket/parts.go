package websocket

import "encoding/binary"

// A message that is compressed in parts has the same bytes for a part in every
// message: parts are compressed without a look at what was before them, and
// end where a byte does, as Flush has them (RFC 1951, 3.2.3: any blocks may
// follow each other). What is of one message alone stands uncompressed between them.

const (
	// StoredHead is the size in bytes of the head of a block that is not compressed.
	StoredHead = 5
	// MaxStored is the most such a block has, behind its head.
	MaxStored = 1<<16 - 1
)

// flushed ends what Flush writes; at the end of a message it is left out
// (RFC 7692, 7.2.1).
var flushed = []byte{0, 0, 0xff, 0xff}

// CompressPart returns text as blocks that may stand anywhere in a compressed
// message but at its end; nil if that cannot be. The caller owns them. Any goroutine.
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

// PutStored makes b, of StoredHead bytes, the head of a block of n bytes, at
// most MaxStored, that follow as they are.
func PutStored(b []byte, n int) {
	b[0] = 0
	binary.LittleEndian.PutUint16(b[1:], uint16(n))
	binary.LittleEndian.PutUint16(b[3:], ^uint16(n))
}

// StoredEnd is text, at most MaxStored bytes of it, as the end of a compressed
// message.
func StoredEnd(text string) []byte {
	b := make([]byte, StoredHead, StoredHead+len(text)+1)
	PutStored(b, len(text))
	return append(append(b, text...), 0) // an empty block, without flushed
}

// PutCompressedHeader is PutHeader for a compressed message of n bytes.
func PutCompressedHeader(b []byte, op Op, n int) (size int) { return PutHeader(b, op|bitRSV1, n) }

// TakesParts reports whether a message that is compressed in parts may be sent,
// whatever its size: what compresses them looks back as far as the largest window.
func (d Deflate) TakesParts() bool { return d >= fullWindow }
