package websocket

import (
	"bytes"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The examples of RFC 7692, 7.2.3, masked as a client has to.
func TestInflateVectors(t *testing.T) {
	for name, b := range map[string][]byte{
		"7.2.3.1 one block":      stream(0xc1, hello),
		"7.2.3.1 fragments":      stream(0x41, hello[:3], 0x80, hello[3:]),
		"7.2.3.3 no compression": stream(0xc1, "\x00\x05\x00\xfa\xffHello\x00"),
		"7.2.3.4 final block":    stream(0xc1, final+"\x00"),
		"7.2.3.5 two blocks":     stream(0xc1, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
	} {
		found, code := feedTo(t, Decoder{Deflate: freeWindow}, nil, b)
		if code != 0 || len(found) != 1 || found[0] != `text "Hello"` {
			t.Errorf("%s: %q, code %d", name, found, code)
		}
		if found, code := feed(t, b, nil); code != CloseProtocolError || len(found) != 0 {
			t.Errorf("%s is taken without an agreement: %q, code %d", name, found, code)
		}
	}
	// 7.2.3.2: the window of the message before is not there.
	found, code := feedTo(t, Decoder{Deflate: freeWindow}, nil, stream(0xc1, hello, 0xc1, "\xf2\x00\x11\x00\x00"))
	if code != CloseInvalidPayload || len(found) != 1 {
		t.Errorf("a message that needs the one before: %q, code %d", found, code)
	}
	// 7.2.3.6
	if found, code := feedTo(t, Decoder{Deflate: freeWindow}, nil, stream(0xc2, "\x00")); code != 0 || found[0] != `binary ""` {
		t.Errorf("an empty message: %q, code %d", found, code)
	}
}

func TestInflateLimits(t *testing.T) {
	zeros := func(n int) string { return deflated(strings.Repeat("\x00", n)) }
	mega := 1 << 20
	for _, c := range []struct {
		name    string
		limits  Limits
		message string
		want    error
	}{
		{"at the message limit", Limits{MaxMessage: mega}, zeros(mega), nil},
		{"over it", Limits{MaxMessage: mega}, zeros(mega + 1), errMessageTooBig},
		{"far over it", Limits{MaxMessage: mega}, zeros(5 * mega), errMessageTooBig},
		{"by MaxFrame, as without compression", Limits{MaxFrame: 300}, zeros(301), errMessageTooBig},
		{"one byte", Limits{MaxFrame: 1}, zeros(2), errMessageTooBig},
		{"a bomb", Limits{MaxMessage: mega}, zeros(16 * mega), errMessageTooBig},
		{"over the default message limit", Limits{}, zeros(DefaultMaxFrame + 1), errMessageTooBig},
		{"a thousand times its size", Limits{}, zeros(2 * mega), nil},
	} {
		before := LiveBuffers()
		out, err := inflate([]byte(c.message), &c.limits)
		if err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		out.Release()
		if n := LiveBuffers() - before; n != 0 {
			t.Errorf("%s: %d buffers left", c.name, n)
		}
	}
}

// A bomb is stopped at the limit: what it costs does not depend on its size.
func TestBombCostsWhatTheLimitAllows(t *testing.T) {
	bomb := []byte(deflated(strings.Repeat("\x00", 4<<20)))
	in := inflaters.Get().(*inflater)
	defer in.release()
	in.reset(bomb)
	if n, err := io.ReadFull(in.reader, make([]byte, 1<<20)); err != nil {
		t.Fatal(n, err)
	}
	// What flate reads ahead is a window of 32 KiB, 32 bytes of the bomb.
	if read := len(bomb) - len(in.src.message); read > 1<<20/1000+100 {
		t.Errorf("%d bytes of the bomb are read for the first MiB of %d", read, 4<<20)
	}
}

// A message without its last byte is broken, whatever that byte is.
func TestCutMessageIsBroken(t *testing.T) {
	for _, m := range []string{hello, deflated(heartbeat), deflated(strings.Repeat(heartbeat, 50))} {
		for cut := range len(m) {
			if out, err := inflate([]byte(m[:cut]), &Limits{}); err == nil {
				t.Errorf("%d of %d bytes become %q", cut, len(m), out.b)
				out.Release()
			}
		}
	}
}

// What comes decompressed may be changed by the handler and lies in no buffer
// that the decoder still uses.
func TestInflatedMessageIsTheHandlers(t *testing.T) {
	before := LiveBuffers()
	d := Decoder{Deflate: freeWindow}
	n := 0
	h := handlerFunc(func(_ bool, p []byte) error {
		n++
		if string(p) != "Hello" || cap(p) != len(p) {
			t.Errorf("message %d: %q with room for %d", n, p, cap(p))
		}
		clear(p)
		return nil
	})
	if err := d.Feed(stream(0xc1, hello, 0x41, hello[:2], 0x80, hello[2:], 0xc1, hello), h); err != nil || n != 3 {
		t.Fatalf("%d messages, %v", n, err)
	}
	if d.cut != nil || LiveBuffers() != before {
		t.Error("an idle decoder holds a buffer")
	}
	r := &resetter{d: &d}
	if err := d.Feed(stream(0xc1, hello, 0xc1, hello), r); err != ErrStop || len(r.got) != 1 {
		t.Errorf("Reset by the handler: %v after %q", err, r.got)
	}
	if n := LiveBuffers() - before; n != 0 {
		t.Errorf("%d buffers left", n)
	}
}

func TestResetKeepsDeflate(t *testing.T) {
	d := Decoder{Deflate: 9}
	d.Reset()
	var e events
	if err := d.Feed(stream(0xc1, hello), &e); err != nil || len(e.got) != 1 {
		t.Errorf("%v, %q", err, e.got)
	}
}

func TestLargeMessagesInflate(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		words := rapid.SliceOfN(rapid.StringN(1, 20, 60), 1, 20).Draw(rt, "words")
		r := rand.New(rand.NewSource(rapid.Int64().Draw(rt, "seed")))
		var b strings.Builder
		for size := rapid.IntRange(0, 100_000).Draw(rt, "size"); b.Len() < size; {
			b.WriteString(words[r.Intn(len(words))])
			fmt.Fprint(&b, r.Intn(1000))
		}
		out, err := inflate([]byte(deflated(b.String())), &Limits{})
		if err != nil {
			rt.Fatal(err)
		}
		defer out.Release()
		if string(out.b) != b.String() {
			rt.Fatalf("%d bytes become %d others", b.Len(), len(out.b))
		}
	})
}

// FuzzInflate compares with compress/flate, which reads to the end.
func FuzzInflate(f *testing.F) {
	for _, m := range []string{hello, final, final + "\x00", final + "x", "\x00", "", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"} {
		f.Add([]byte(m), uint16(3))
	}
	long := deflated(strings.Repeat(heartbeat, 300))
	f.Add([]byte(long), uint16(1000))
	f.Add([]byte(long[:len(long)/2]), uint16(60000))
	f.Fuzz(func(t *testing.T, b []byte, most uint16) {
		if len(b) > 1<<14 {
			return // up to 1,032 times as much comes out
		}
		limits := Limits{MaxMessage: int(most) + 1}
		before := LiveBuffers()
		want, code := inflated(b, limits.maxMessage())
		out, err := inflate(bytes.Clone(b), &limits)
		var got []byte
		var gotCode uint16
		if err != nil {
			gotCode = err.(*CloseError).Code
		} else {
			got = bytes.Clone(out.b)
		}
		out.Release()
		if gotCode != code || !bytes.Equal(got, want) {
			t.Fatalf("%x, at most %d: %q, code %d; want %q, code %d", b, limits.MaxMessage, got, gotCode, want, code)
		}
		if n := LiveBuffers() - before; n != 0 {
			t.Fatalf("%d buffers left", n)
		}
	})
}
