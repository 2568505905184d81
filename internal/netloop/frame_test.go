package netloop

import (
	"bytes"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/race"
)

func TestFrameBytes(t *testing.T) {
	for _, size := range []int{0, 1, 127, 128, 129, 65536, 65537, 1 << 20} {
		f := NewFrame(size)
		if len(f.Bytes()) != 0 || cap(f.Bytes()) < size {
			t.Fatalf("size %d: len %d cap %d", size, len(f.Bytes()), cap(f.Bytes()))
		}
		// A header right-aligned into room left before the payload.
		b := append(f.Bytes(), "----------"...)
		b = append(b, bytes.Repeat([]byte("p"), size)...)
		copy(b[8:], "hd")
		f.SetBytes(b[8:])
		f.Append([]byte("."))
		if want := "hd" + string(bytes.Repeat([]byte("p"), size)) + "."; string(f.Bytes()) != want {
			t.Fatalf("size %d: %.40q", size, f.Bytes())
		}
		f.Release()
	}
	if n := LiveFrames(); n != 0 {
		t.Errorf("%d frames left", n)
	}
}

// A frame's storage comes back whole even when its bytes began behind a header's room.
func TestFrameReuseKeepsRoom(t *testing.T) {
	for range 100 {
		f := NewFrame(200)
		if cap(f.Bytes()) < 200 {
			t.Fatalf("cap %d", cap(f.Bytes()))
		}
		b := append(f.Bytes(), make([]byte, 150)...)
		f.SetBytes(b[100:])
		f.Release()
	}
}

func TestFrameReleasedTooOften(t *testing.T) {
	f := &Frame{class: unpooled}
	f.refs.Store(1)
	liveFrames.Add(1)
	f.Release()
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	f.Release()
}

func TestFrameAllocations(t *testing.T) {
	payload := make([]byte, 100)
	n := testing.AllocsPerRun(1000, func() {
		f := NewFrame(len(payload))
		f.Append(payload)
		f.Retain(1)
		f.Release()
		f.Release()
	})
	if n != 0 && !race.Enabled { // the race detector makes pools forget
		t.Errorf("%v allocations per frame", n)
	}
}
