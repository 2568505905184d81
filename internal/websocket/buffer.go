package websocket

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

const (
	// minBuffer is the smallest pooled buffer in bytes: most messages of
	// phoenix.js fit, and thousands of clients that send one byte and then
	// nothing hold little.
	minBuffer = 512
	// maxPooledBuffer is the largest pooled buffer in bytes. Larger messages
	// are rare and their memory is better given back.
	maxPooledBuffer = 1 << 20
)

// bufferPools has one pool per power of two from minBuffer to maxPooledBuffer.
var bufferPools [12]sync.Pool

var liveBuffers atomic.Int64

// LiveBuffers returns the number of buffers that decoders of this process hold
// for unfinished frames and messages. Tests use it to find leaks.
func LiveBuffers() int64 { return liveBuffers.Load() }

// Buffer collects bytes that cannot be handled in the slice they came in. It comes
// from a pool, which package packet uses too.
type Buffer struct {
	b []byte
}

// NewBuffer returns an empty buffer with room for size bytes.
func NewBuffer(size int) *Buffer {
	liveBuffers.Add(1)
	if size > maxPooledBuffer {
		return &Buffer{b: make([]byte, 0, size)}
	}
	class := bufferClass(size)
	if buf, ok := bufferPools[class].Get().(*Buffer); ok {
		return buf
	}
	return &Buffer{b: make([]byte, 0, minBuffer<<class)}
}

// Bytes returns the bytes that were appended, until Release.
func (buf *Buffer) Bytes() []byte { return buf.b }

// Append adds a copy of p, for which there is room: see Grown.
func (buf *Buffer) Append(p []byte) { buf.b = append(buf.b, p...) }

// Release returns the buffer to its pool; nil is allowed.
func (buf *Buffer) Release() {
	if buf == nil {
		return
	}
	liveBuffers.Add(-1)
	if cap(buf.b) > maxPooledBuffer {
		return
	}
	buf.b = buf.b[:0]
	bufferPools[bufferClass(cap(buf.b))].Put(buf)
}

// Grown returns a buffer with the same bytes and room for at least size bytes
// in all: buf itself if it has the room. At most limit bytes will ever be
// needed. Sizes double, so that copying costs no more than the bytes did.
func (buf *Buffer) Grown(size, limit int) *Buffer {
	if size <= cap(buf.b) {
		return buf
	}
	bigger := NewBuffer(max(size, min(2*cap(buf.b), limit)))
	bigger.b = append(bigger.b, buf.b...)
	buf.Release()
	return bigger
}

// bufferClass returns the index of the pool whose buffers hold size bytes.
func bufferClass(size int) int {
	if size <= minBuffer {
		return 0
	}
	return bits.Len(uint(size-1) / minBuffer)
}
