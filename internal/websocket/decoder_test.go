package websocket

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

func TestDecoderIsSmallWhenIdle(t *testing.T) {
	if size := unsafe.Sizeof(Decoder{}); size > 16 {
		t.Errorf("a Decoder has %d bytes", size)
	}
}

func TestSizeLimits(t *testing.T) {
	limits := &Limits{MaxFrame: 65536}
	for _, c := range []struct {
		name   string
		stream []byte
		code   uint16
	}{
		{"ws_frame_payload_at_limit", stream(0x81, strings.Repeat("x", 65536)), 0},
		{"ws_frame_one_over_limit", stream(0x81, strings.Repeat("x", 65537)), CloseTooBig},
		{"ws_fragments_over_frame_limit", stream(0x01, strings.Repeat("x", 40000), 0x80, strings.Repeat("x", 40000)), CloseTooBig},
		{"refused by the head alone", stream(0x81, strings.Repeat("x", 65537))[:10], CloseTooBig},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, code := feed(t, c.stream, limits); code != c.code {
				t.Errorf("code %d, want %d", code, c.code)
			}
		})
	}
	if _, code := feed(t, stream(0x82, strings.Repeat("x", DefaultMaxFrame)), nil); code != 0 {
		t.Errorf("the default limit refuses its own size with %d", code)
	}
}

func TestClaimedLengthIsNotAllocated(t *testing.T) {
	var d Decoder
	defer d.Reset()
	head := []byte{0x82, 0xff, 0, 0, 0, 0, 0, 0x98, 0x96, 0x80, 0, 0, 0, 0} // 10,000,000 bytes
	if err := d.Feed(head, &events{}); err != nil {
		t.Fatal(err)
	}
	if d.cut.buf != nil {
		t.Error("a head alone holds a buffer")
	}
	if err := d.Feed([]byte{1}, &events{}); err != nil {
		t.Fatal(err)
	}
	if got := cap(d.cut.buf.b); got != minBuffer {
		t.Errorf("one byte holds %d bytes", got)
	}
}

func TestBuffersGoBack(t *testing.T) {
	before := LiveBuffers()
	var d Decoder
	var e events
	b := stream(0x01, "one", 0x80, "two")
	for i := range b {
		if err := d.Feed(b[i:i+1], &e); err != nil {
			t.Fatal(err)
		}
		held := LiveBuffers() - before
		if atEnd := i == len(b)-1; atEnd && held != 0 || !atEnd && i > 6 && held != 1 {
			t.Errorf("after byte %d: %d buffers", i, held)
		}
	}
	if d.cut != nil {
		t.Error("an idle decoder holds a state")
	}
	b = stream(0x81, "not finished")
	if err := d.Feed(b[:len(b)-1], &e); err != nil {
		t.Fatal(err)
	}
	d.Reset()
	if got := LiveBuffers() - before; got != 0 {
		t.Errorf("after Reset: %d buffers", got)
	}
}

func TestLargeMessageGrowsThroughAllClasses(t *testing.T) {
	want := strings.Repeat("0123456789abcdef", 3<<20/16)
	b := stream(0x82, want)
	before := LiveBuffers()
	var d Decoder
	var got []byte
	h := handlerFunc(func(_ bool, p []byte) error { got = bytes.Clone(p); return nil })
	for piece := range slices.Chunk(b, 60000) {
		if err := d.Feed(piece, h); err != nil {
			t.Fatal(err)
		}
	}
	if string(got) != want {
		t.Errorf("%d bytes came, want %d the same", len(got), len(want))
	}
	if n := LiveBuffers() - before; n != 0 {
		t.Errorf("%d buffers left", n)
	}
}

func TestWholeFrameIsNotCopied(t *testing.T) {
	b := stream(0x81, "first", 0x82, "second")
	inside := func(p []byte) bool {
		start := uintptr(unsafe.Pointer(&p[0])) - uintptr(unsafe.Pointer(&b[0]))
		return start < uintptr(len(b)) && cap(p) == len(p)
	}
	var d Decoder
	n := 0
	h := handlerFunc(func(_ bool, p []byte) error {
		n++
		if !inside(p) {
			t.Errorf("%q is a copy, or reaches into the next frame", p)
		}
		return nil
	})
	// A head that came before its payload makes no copy either.
	head := bytes.Clone(b[:6])
	if err := d.Feed(head, h); err != nil {
		t.Fatal(err)
	}
	if err := d.Feed(b[6:], h); err != nil {
		t.Fatal(err)
	}
	if n != 2 {
		t.Errorf("%d messages", n)
	}
}

// handlerFunc handles messages and ignores control frames.
type handlerFunc func(binary bool, payload []byte) error

func (f handlerFunc) HandleMessage(binary bool, p []byte) error { return f(binary, p) }
func (f handlerFunc) HandleControl(Op, []byte) error            { return nil }
func (f handlerFunc) HandleOverhead(int) error                  { return nil }

func TestHandlerErrorStops(t *testing.T) {
	mine := errors.New("mine")
	for _, b := range [][]byte{
		stream(0x81, "a", 0x81, "b"),
		stream(0x89, "a", 0x81, "b"),
		stream(0x01, "a", 0x80, "b", 0x81, "c"),
		stream(0x01, "a", 0x89, "b", 0x81, "c"),
	} {
		for _, pieces := range [][][]byte{{b}, slices.Collect(slices.Chunk(b, 1))} {
			before := LiveBuffers()
			d, e := Decoder{}, events{err: mine}
			var err error
			for _, p := range pieces {
				if err = d.Feed(bytes.Clone(p), &e); err != nil {
					break
				}
			}
			if err != mine || len(e.got) != 1 {
				t.Errorf("%x: %v after %q", b, err, e.got)
			}
			if err := d.Feed(stream(0x81, "x"), &e); err != nil || len(e.got) != 1 {
				t.Errorf("%x: fed after the error: %v, %q", b, err, e.got)
			}
			if n := LiveBuffers() - before; n != 0 {
				t.Errorf("%x: %d buffers left", b, n)
			}
		}
	}
}

// resetter closes its connection from the callback.
type resetter struct {
	events
	d *Decoder
}

func (r *resetter) HandleMessage(binary bool, p []byte) error {
	r.d.Reset()
	return r.events.HandleMessage(binary, p)
}

func (r *resetter) HandleOverhead(int) error { return nil }

func (r *resetter) HandleControl(op Op, p []byte) error {
	r.d.Reset()
	return r.events.HandleControl(op, p)
}

func TestResetInsideHandler(t *testing.T) {
	for want, b := range map[string][]byte{
		`text "ab"`:       stream(0x01, "a", 0x80, "b", 0x81, "c"),
		`control 9 "mid"`: stream(0x01, "a", 0x89, "mid", 0x80, "b"),
		`control a "one"`: stream(0x8a, "one", 0x80, "b"),
	} {
		for _, size := range []int{1, 3, len(b)} {
			before := LiveBuffers()
			var d Decoder
			r := &resetter{d: &d}
			var err error
			for p := range slices.Chunk(bytes.Clone(b), size) {
				if err = d.Feed(p, r); err != nil {
					break
				}
			}
			if err != ErrStop || len(r.got) != 1 || r.got[0] != want {
				t.Errorf("pieces of %d: %v after %q, want %s", size, err, r.got, want)
			}
			if n := LiveBuffers() - before; n != 0 {
				t.Errorf("%s: %d buffers left", want, n)
			}
		}
	}
}

func TestResetMakesNew(t *testing.T) {
	d := Decoder{Deflate: freeWindow}
	var e events
	if err := d.Feed(stream(0xa1, "x"), &e); err == nil {
		t.Fatal("reserved bit is accepted")
	}
	d.Reset()
	if err := d.Feed(stream(0x81, "again"), &e); err != nil || len(e.got) != 1 || d.Deflate != freeWindow {
		t.Errorf("after Reset: %v, %q", err, e.got)
	}
}

func TestBufferClasses(t *testing.T) {
	for _, size := range []int{0, 1, 511, 512, 513, 1024, 1025, 65536, 65537, maxPooledBuffer - 1, maxPooledBuffer} {
		class := bufferClass(size)
		if room := minBuffer << class; room < size || class > 0 && room/2 >= size {
			t.Errorf("%d bytes go to the class of %d", size, room)
		}
	}
	if last := bufferClass(maxPooledBuffer); last != len(bufferPools)-1 {
		t.Errorf("the last class is %d of %d", last, len(bufferPools))
	}
}

// pauser wants each message by itself.
type pauser struct{ events }

func (p *pauser) HandleMessage(binary bool, payload []byte) error {
	if err := p.events.HandleMessage(binary, payload); err != nil {
		return err
	}
	return ErrPause
}

// TestPause: with a pause behind every message the same is found, one message at a
// time, and Feed goes on by itself.
func TestPause(t *testing.T) {
	b := stream(0x81, "one", 0x01, "tw", 0x89, "ping", 0x80, "o", 0xc1, hello, 0x82, "", 0x8a, "pong", 0x81, "last")
	want := events{}
	if err := (&Decoder{Deflate: freeWindow}).Feed(bytes.Clone(b), &want); err != nil {
		t.Fatal(err)
	}
	before := LiveBuffers()
	for size := 1; size <= len(b); size++ {
		var one, all pauser
		d, whole := Decoder{Deflate: freeWindow}, Decoder{Deflate: freeWindow}
		pauses := 0
		for p := range slices.Chunk(bytes.Clone(b), size) {
			if err := whole.Feed(bytes.Clone(p), &all); err != nil {
				t.Fatal(err)
			}
			for err := ErrPause; err != nil; {
				if p, err = d.FeedSome(p, nil, &one); err != nil {
					if pauses++; err != ErrPause {
						t.Fatal(err)
					}
				}
			}
		}
		if pauses != 5 || !slices.Equal(one.got, want.got) || !slices.Equal(all.got, want.got) {
			t.Errorf("pieces of %d: %d pauses, %q and %q, want %q", size, pauses, one.got, all.got, want.got)
		}
	}
	if n := LiveBuffers() - before; n != 0 {
		t.Errorf("%d buffers left", n)
	}
}
