package netloop

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Frames come from pools by size class, powers of two from 128 bytes (a small message with its header) to 64 KiB.
// Larger ones are rare and left to the garbage collector.
const (
	minClassBits = 7
	maxClassBits = 16
	unpooled     = -1
)

var (
	framePools [maxClassBits - minClassBits + 1]sync.Pool
	liveFrames atomic.Int64
)

// Frame is a run of bytes that many connections send: each holds a reference, none a copy. Its creator fills it and
// then sends it; from the first Send on it is immutable. Safe for use by several goroutines after that.
type Frame struct {
	refs atomic.Int32

	// Written by the creator only, read by all after the first Send.
	class int8
	store []byte // the whole buffer, as it goes back to its pool
	data  []byte // what is sent: a slice of store
}

// NewFrame returns an empty frame with room for size bytes and one reference, the creator's.
func NewFrame(size int) *Frame {
	liveFrames.Add(1)
	class := classFor(size)
	if class == unpooled {
		f := &Frame{class: unpooled, store: make([]byte, 0, size)}
		f.data = f.store
		f.refs.Store(1)
		return f
	}
	f, _ := framePools[class].Get().(*Frame)
	if f == nil {
		f = &Frame{class: int8(class), store: make([]byte, 0, 1<<(class+minClassBits))}
	}
	f.data = f.store
	f.refs.Store(1)
	return f
}

// Bytes returns the frame's bytes. Before the first Send the creator may append to them and hand the result to
// SetBytes; afterwards they must not be changed, and are valid while the caller holds a reference.
func (f *Frame) Bytes() []byte { return f.data }

// SetBytes makes b the frame's bytes; the frame owns b from now on. b may be any part of what Bytes returned, so that
// a header can be put right-aligned into room left before a payload, or what append made of it.
func (f *Frame) SetBytes(b []byte) {
	f.data = b
	if cap(b) == 0 || sameEnd(b, f.store) {
		return
	}
	f.store = b[:0]
	f.class = unpooled
	if c := bits.Len(uint(cap(b))) - 1; c >= minClassBits && c <= maxClassBits {
		f.class = int8(c - minClassBits)
	}
}

// Append adds p to the frame's bytes.
func (f *Frame) Append(p []byte) { f.SetBytes(append(f.data, p...)) }

// Retain takes n more references. Any goroutine that holds one may call it.
func (f *Frame) Retain(n int32) { f.refs.Add(n) }

// Release gives one reference back; the last one recycles the frame. Any goroutine.
func (f *Frame) Release() {
	n := f.refs.Add(-1)
	if n > 0 {
		return
	}
	if n < 0 {
		panic("netloop: frame released too often")
	}
	liveFrames.Add(-1)
	f.data = nil
	if f.class != unpooled {
		framePools[f.class].Put(f)
	}
}

// LiveFrames returns how many frames hold references, in the whole process: 0 when nothing leaks.
func LiveFrames() int64 { return liveFrames.Load() }

// classFor returns the smallest class with room for size bytes.
func classFor(size int) int {
	if size <= 1<<minClassBits {
		return 0
	}
	if size > 1<<maxClassBits {
		return unpooled
	}
	return bits.Len(uint(size-1)) - minClassBits
}

// sameEnd reports whether two slices end at the same byte of one array: so do all slices of a buffer whose capacity
// was not cut.
func sameEnd(a, b []byte) bool {
	return cap(b) > 0 && &a[:cap(a)][cap(a)-1] == &b[:cap(b)][cap(b)-1]
}
