package netloop

import (
	"io"
	"math"
	"math/bits"
	"net"
	"sync"
	"sync/atomic"
)

// Frames come from pools, one for each size class: powers of two from 128 bytes (a small message with its header) to 64
// KiB. Larger frames are rare and left to the garbage collector.
const (
	minClassBits = 7
	maxClassBits = 16
	unpooled     = -1
)

var (
	framePools [maxClassBits - minClassBits + 1]sync.Pool
	liveFrames atomic.Int64
)

// Frame is a sequence of bytes that many connections can send: each holds a reference, none a copy. Its creator fills
// it; from the first Send on it is immutable, and safe for use by several goroutines.
type Frame struct {
	refs atomic.Int32

	// Written by the creator only, read by all after the first Send.
	class  int8
	store  []byte // the whole buffer, as it goes back to its pool
	data   []byte // what is sent first: a slice of store
	rest   *parts // what is sent after data; nil for almost all frames
	weight int32  // what it counts against the limit; 0: its size
}

// parts are bytes shared by several frames.
type parts struct {
	list [][]byte
	size int // bytes in all
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

// Bytes returns the frame's own bytes. Before the first Send the creator may append to them and hand the result to
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

// Share adds parts after the frame's own bytes; it may be called once. The parts are not copied, so neither the list
// nor the bytes may change afterwards. Use it for large parts; small ones are better copied. The frame then counts as
// if Weigh had been called with its size.
func (f *Frame) Share(list [][]byte) {
	f.rest = &parts{list: list}
	for _, part := range list {
		f.rest.size += len(part)
	}
	f.Weigh(f.Size())
}

// ShareMore is Share for a frame that may have parts already.
func (f *Frame) ShareMore(list [][]byte) {
	if f.rest != nil {
		list = append(f.rest.list, list...)
	}
	f.Share(list)
}

// Weigh makes the frame count as n bytes against Options.OutboundLimit, but at most a quarter of it, until the whole
// frame is written. It is for frames that the server makes by itself: one of them must not end a connection whose peer
// reads. Call it before the first Send; 0 makes the frame count its size again.
func (f *Frame) Weigh(n int) { f.weight = int32(min(n, math.MaxInt32)) }

// Cost returns what the frame counts against limit while it waits.
func (f *Frame) Cost(limit int) int {
	if f.weight == 0 {
		return len(f.data)
	}
	return max(1, min(int(f.weight), limit/4))
}

// Size returns how many bytes the frame sends.
func (f *Frame) Size() int {
	if f.rest == nil {
		return len(f.data)
	}
	return len(f.data) + f.rest.size
}

// gather returns what to write next of a frame with shared parts, of which n bytes have been written: as many parts as
// fit into scratch, but at least one. A send for each part costs three times as much as this copy within the cache.
func (f *Frame) gather(n int, scratch []byte) []byte {
	buf := scratch[:0]
	if n < len(f.data) {
		buf = append(buf, f.data[n:]...)
	}
	n = max(n-len(f.data), 0)
	for _, part := range f.rest.list {
		if n >= len(part) {
			n -= len(part)
			continue
		}
		part, n = part[n:], 0
		if len(buf)+len(part) > cap(scratch) {
			if len(buf) == 0 {
				return part
			}
			break
		}
		buf = append(buf, part...)
	}
	return buf
}

// AppendTo appends the bytes that are sent to dst.
func (f *Frame) AppendTo(dst []byte) []byte {
	dst = append(dst, f.data...)
	if f.rest != nil {
		for _, part := range f.rest.list {
			dst = append(dst, part...)
		}
	}
	return dst
}

// writeTo writes the whole frame.
func (f *Frame) writeTo(w io.Writer) error {
	if f.rest == nil {
		_, err := w.Write(f.data)
		return err
	}
	all := append(net.Buffers{f.data}, f.rest.list...)
	_, err := all.WriteTo(w)
	return err
}

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
	f.data, f.rest, f.weight = nil, nil, 0
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

// sameEnd reports whether two slices end at the same byte of one array, as all slices of a buffer do unless their
// capacity was cut.
func sameEnd(a, b []byte) bool {
	return cap(b) > 0 && &a[:cap(a)][cap(a)-1] == &b[:cap(b)][cap(b)-1]
}
