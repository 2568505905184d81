package packet

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// pieces feeds a decoder the stream in pieces of n bytes. It returns what the handler saw
// and the error.
func pieces(stream string, n, most int) (lines []string, err error) {
	d := Decoder{}
	h := &script{decoder: &d}
	defer d.End()
	for data := []byte(stream); len(data) > 0 && err == nil; data = data[min(n, len(data)):] {
		_, err = d.FeedSome(data[:min(n, len(data)):min(n, len(data))], most, h)
	}
	return h.lines, err
}

func TestDecoder(t *testing.T) {
	noBuffersLeft(t)
	long := strings.Repeat("é", 600)
	for _, c := range []struct {
		stream string
		lines  []string
		err    error
	}{
		{"\x00\x00\x00\x03\x01[]\x00\x00\x00\x02\x02\xff", []string{`false "[]"`, `true "\xff"`}, nil},
		{"\x00\x00\x00\x01\x01\x00\x00\x00\x01\x02", []string{`false ""`, `true ""`}, nil},
		{"\x00\x00\x00\x03\x09ab\x00\x00\x00\x01\x0a", []string{`9 "ab"`, `10 ""`}, nil},
		{"\x00\x00\x04\xb1\x01" + long, []string{`false "` + long + `"`}, nil},
		{"\x00\x00\x00\x03\x08\x03\xe8\x00\x00\x00\x03\x01[]", []string{`8 "\x03\xe8"`}, nil},
		{"\x00\x00\x00\x01\x08", []string{`8 ""`}, nil},
		{"\x00\x00\x00\x00", nil, errEmpty},
		{"\x00\x00\x00\x01\x00", nil, errType},
		{"\x00\x00\x00\x03\x03{}", nil, errType},
		{"\x00\x00\x00\x01\x04", nil, errType},
		{"\x00\x00\x00\x01\x05", nil, errType},
		{"\x00\x00\x00\x01\xff", nil, errType},
		{"\x00\x00\x00\x02\x01\xff", nil, errText},
		{"\x00\x00\x00\x7f\x09", nil, errControl},
		{"\x00\x00\x08\x02\x01", nil, errTooLarge},
		{"\x00\x00\x08\x02", nil, errTooLarge},
		{"GET / HTTP/1.1\r\n", nil, errTooLarge},
		{"\x00\x00\x00\x02\x08\x03", nil, websocket.CheckClose([]byte{3})},
		{"\x00\x00\x00\x03\x08\x03\xed", nil, websocket.CheckClose([]byte{3, 0xed})},
		{"\x00\x00\x00\x03\x01[]\x00\x00\x00\x00", []string{`false "[]"`}, errEmpty},
	} {
		for n := range len(c.stream) {
			lines, err := pieces(c.stream, n+1, 2048)
			if !reflect.DeepEqual(lines, c.lines) || !errors.Is(err, c.err) {
				t.Errorf("%.20q in pieces of %d: %.60q, %v; want %.60q, %v", c.stream, n+1, lines, err, c.lines, c.err)
			}
		}
	}
}

// A message of the largest size is taken, and control packets are whatever that is.
func TestLargestMessage(t *testing.T) {
	noBuffersLeft(t)
	for _, n := range []int{1, 4096} {
		if lines, err := pieces("\x00\x00\x00\x05\x01abcd\x00\x00\x00\x06\x0912345", n, 4); len(lines) != 2 || err != nil {
			t.Errorf("%q, %v", lines, err)
		}
		if lines, err := pieces("\x00\x00\x00\x06\x01abcde", n, 4); len(lines) != 0 || !errors.Is(err, errTooLarge) {
			t.Errorf("%q, %v", lines, err)
		}
	}
}

// What is kept of a packet grows with the bytes that have come, whatever length was
// announced, and nothing is kept between packets.
func TestMemoryGrowsWithBytes(t *testing.T) {
	noBuffersLeft(t)
	d, h := Decoder{}, new(script)
	feed := func(data string) {
		t.Helper()
		if _, err := d.FeedSome([]byte(data), 1<<30, h); err != nil {
			t.Fatal(err)
		}
	}
	feed("\x30\x00\x00\x00\x02" + strings.Repeat("x", 100))
	if n := cap(d.cut.Bytes()); n > 1024 {
		t.Errorf("105 bytes take %d", n)
	}
	feed(strings.Repeat("x", 3000))
	if n := cap(d.cut.Bytes()); n > 8192 {
		t.Errorf("3,105 bytes take %d", n)
	}
	d.End()
	if _, err := d.FeedSome([]byte("\x00\x00\x00\x03\x01[]"), 1<<30, h); err != nil || len(h.lines) > 0 {
		t.Errorf("an ended decoder: %q, %v", h.lines, err)
	}
	d = Decoder{}
	for _, piece := range []string{"\x00\x00", "\x00\x06\x01a", "bcde\x00\x00\x00\x02\x01f"} {
		feed(piece)
	}
	if d.cut != nil || len(h.lines) != 2 {
		t.Errorf("%q, and %v is kept", h.lines, d.cut)
	}
}

// A handler that pauses gets the rest later, and one that ends the decoder, or stops it,
// nothing more.
func TestHandlerPausesAndEnds(t *testing.T) {
	noBuffersLeft(t)
	const two = "\x00\x00\x00\x03\x01[]\x00\x00\x00\x03\x01{}"
	for _, cut := range []int{len(two), 6} {
		d := Decoder{}
		h := &script{decoder: &d, answers: []error{websocket.ErrPause}}
		rest, err := d.FeedSome([]byte(two[:cut]), 100, h)
		if cut < len("\x00\x00\x00\x03\x01[]") {
			if err != nil || rest != nil {
				t.Fatalf("half a packet: %q, %v", rest, err)
			}
			rest, err = d.FeedSome([]byte(two[cut:]), 100, h)
		}
		if !errors.Is(err, websocket.ErrPause) || string(rest) != two[7:] {
			t.Fatalf("rest %q, %v", rest, err)
		}
		if _, err = d.FeedSome(rest, 100, h); err != nil || len(h.lines) != 2 {
			t.Errorf("%q, %v", h.lines, err)
		}

		d = Decoder{}
		h = &script{decoder: &d, answers: []error{websocket.ErrStop}}
		if _, err := d.FeedSome([]byte(two), 100, h); !errors.Is(err, websocket.ErrStop) || len(h.lines) != 1 {
			t.Errorf("stopped: %q, %v", h.lines, err)
		}

		d = Decoder{}
		h = &script{decoder: &d, ends: true}
		if _, err := d.FeedSome([]byte(two), 100, h); err != nil || len(h.lines) != 1 {
			t.Errorf("ended: %q, %v", h.lines, err)
		}
	}
}

// Whatever comes, and however it is cut, the handler is given the same.
func FuzzDecoder(f *testing.F) {
	f.Add("\x00\x00\x00\x03\x01[]\x00\x00\x00\x02\x02\xff", uint8(3))
	f.Add("\x00\x00\x00\x03\x09ab\x00\x00\x00\x03\x08\x03\xe8", uint8(1))
	f.Add("GET / HTTP/1.1\r\n\r\n", uint8(5))
	f.Add("\x00\x00\x00\x00\x01", uint8(2))
	f.Fuzz(func(t *testing.T, stream string, n uint8) {
		before := websocket.LiveBuffers()
		whole, wantErr := pieces(stream, max(1, len(stream)), 1000)
		lines, err := pieces(stream, int(n)+1, 1000)
		if !reflect.DeepEqual(lines, whole) || !errors.Is(err, wantErr) {
			t.Errorf("%q in pieces of %d: %q, %v; at once: %q, %v", stream, int(n)+1, lines, err, whole, wantErr)
		}
		if websocket.LiveBuffers() != before {
			t.Error("a buffer is left")
		}
	})
}
