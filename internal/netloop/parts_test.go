package netloop

import (
	"bytes"
	"io"
	"testing"
)

// Whatever was written of a frame in parts, what is written next goes on from there, as much at once as fits.
func TestGatherParts(t *testing.T) {
	f := frameOf([]byte("head,"))
	defer f.Release()
	f.Share([][]byte{[]byte("one,"), {}, []byte("two,"), []byte("this is larger than the scratch,"), []byte("last")})
	const all = "head,one,two,this is larger than the scratch,last"
	if f.Size() != len(all) {
		t.Fatalf("size %d, want %d", f.Size(), len(all))
	}
	for _, test := range []struct {
		written int
		want    string
	}{
		{0, "head,one,"}, {3, "d,one,two,"}, {5, "one,two,"}, {7, "e,two,"}, {9, "two,"}, {12, ","},
		{13, "this is larger than the scratch,"}, {41, "tch,last"}, {45, "last"}, {48, "t"},
	} {
		if got := string(f.gather(test.written, make([]byte, 0, 10))); got != test.want {
			t.Errorf("after %d bytes %q, want %q", test.written, got, test.want)
		}
	}
	var b bytes.Buffer
	if err := f.writeTo(&b); err != nil || b.String() != all {
		t.Errorf("wrote %q, %v", b.String(), err)
	}
	b.Reset()
	if err := f.writeTo(&b); err != nil || b.String() != all {
		t.Errorf("wrote %q the second time, %v", b.String(), err)
	}
}

// A frame in parts is dropped whole or not at all.
func TestPartsOverflow(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		const limit = 1 << 20
		g := newGroup(t, w.with(Options{OutboundLimit: limit, Overflow: DropNewest}))
		c, peer := connect(t, g, &hooks{})
		block := bytes.Repeat([]byte("x"), 64<<10)
		parts := [][]byte{block, block, block}
		size := 1 + len(parts)*len(block)
		frames := 0
		for dropped := int64(0); dropped == 0; dropped = g.Stats().DroppedNewest {
			on(t, c, func() {
				f := frameOf([]byte("h"))
				f.Share(parts)
				c.Send(f)
				if n := c.QueuedBytes(); n > limit {
					t.Errorf("%d bytes wait, the limit is %d", n, limit)
				}
			})
			frames++
		}
		frames-- // the one that was dropped
		got := make([]byte, frames*size)
		if _, err := io.ReadFull(peer, got); err != nil {
			t.Fatal(err)
		}
		for i := range frames {
			if frame := got[i*size:][:size]; frame[0] != 'h' || !bytes.Equal(frame[1:], bytes.Repeat(block, len(parts))) {
				t.Fatalf("frame %d is not whole", i)
			}
		}
		eventually(t, "frames released", func() bool { return LiveFrames() == 0 })
	})
}
