package websocket

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// feed gives a copy of b to a new Decoder in pieces that end at the cuts, and
// returns what it found and the code of its error, 0 for none.
func feed(t testing.TB, b []byte, limits *Limits, cuts ...int) (found []string, code uint16) {
	t.Helper()
	return feedTo(t, Decoder{}, limits, b, cuts...)
}

// feedTo is feed for a decoder that is not fed yet.
func feedTo(t testing.TB, d Decoder, limits *Limits, b []byte, cuts ...int) (found []string, code uint16) {
	t.Helper()
	b = bytes.Clone(b)
	var e events
	defer d.Reset()
	at := 0
	for _, cut := range append(slices.Clone(cuts), len(b)) {
		// A capacity that ends with the piece catches reads behind it.
		_, err := d.FeedSome(b[at:cut:cut], limits, &e)
		at = cut
		if err == nil {
			continue
		}
		var closed *CloseError
		if !errors.As(err, &closed) {
			t.Fatalf("unexpected error %v", err)
		}
		if again := d.Feed([]byte{0x81, 0x80, 0, 0, 0, 0}, &e); again != nil {
			t.Fatalf("fed after an error: %v", again)
		}
		return e.got, closed.Code
	}
	return e.got, 0
}

// checkStream compares a stream in all ways of cutting it with the oracle, with
// compression agreed on and without.
func checkStream(t testing.TB, b []byte, limits Limits, cuts []int) {
	t.Helper()
	checkStreamWith(t, NoDeflate, b, limits, cuts)
	checkStreamWith(t, freeWindow, b, limits, cuts)
}

func checkStreamWith(t testing.TB, deflate Deflate, b []byte, limits Limits, cuts []int) {
	t.Helper()
	o := oracle{maxFrame: limits.maxFrame(), maxMessage: limits.maxMessage(), deflate: deflate != NoDeflate}
	code := o.run(b)
	check := func(how string, cuts ...int) {
		t.Helper()
		before := LiveBuffers()
		found, got := feedTo(t, Decoder{Deflate: deflate}, &limits, b, cuts...)
		if got != code || !slices.Equal(found, o.events) {
			t.Fatalf("%s of %x, deflate %d:\n got %q, code %d\nwant %q, code %d", how, b, deflate, found, got, o.events, code)
		}
		if after := LiveBuffers(); after != before {
			t.Fatalf("%s of %x: %d buffers are not given back", how, b, after-before)
		}
	}
	check("whole")
	check(fmt.Sprintf("cuts %v", cuts), cuts...)
	each := make([]int, len(b))
	for i := range each {
		each[i] = i
	}
	check("byte by byte", each...)
}

// streams are the seeds of the fuzz target and are cut at every byte. The
// names of recordings are used where one shows the case.
var streams = map[string][]byte{
	"empty stream":      {},
	"text":              stream(0x81, `[null,"1","phoenix","heartbeat",{}]`),
	"empty text":        stream(0x81, "", 0x82, "", 0x81, "x"),
	"binary":            stream(0x82, "\x00\xff\xfe"),
	"length 125":        stream(0x81, strings.Repeat("a", 125)),
	"length 126":        stream(0x81, strings.Repeat("a", 126)),
	"length 127":        stream(0x82, strings.Repeat("a", 127), 0x81, "b"),
	"ws_fragmented":     stream(0x01, `[null,"1","phoe`, 0x89, "mid", 0x00, `nix","hear`, 0x80, `tbeat",{}]`),
	"empty parts":       stream(0x01, `[null,`, 0x00, "", 0x80, `1]`, 0x01, "", 0x00, "", 0x80, "", 0x81, "x"),
	"split utf8":        stream(0x01, "\xf0\x9f", 0x80, "\x92\xa7", 0x81, "\u00e9"),
	"split utf8 thrice": stream(0x01, "x\xf0", 0x00, "\x9f", 0x89, "p", 0x00, "", 0x00, "\x92", 0x80, "\xa7y"),
	"binary fragments":  stream(0x02, "\xff", 0x8a, "", 0x80, "\xfe", 0x81, "after"),
	"ws_ping":           stream(0x89, "", 0x89, "hello", 0x89, strings.Repeat("x", 125), 0x8a, "pong"),
	"close 1000":        stream(0x88, "\x03\xe8bye"),
	"close empty":       stream(0x88, ""),
	"close 3000":        stream(0x88, "\x0b\xb8"),
	"close 4999":        stream(0x88, "\x13\x87"),
	"close 1012":        stream(0x88, "\x03\xf4"),
	"close then text":   stream(0x88, "\x03\xe8", 0x81, "ignored"),
	"close in message":  stream(0x01, "part", 0x88, "\x03\xe8", 0x80, "x"),
	"close one byte":    stream(0x88, "\x03"),
	"close 999":         stream(0x88, "\x03\xe7"),
	"close 1004":        stream(0x88, "\x03\xec"),
	"close 1006":        stream(0x88, "\x03\xee"),
	"close 1015":        stream(0x88, "\x03\xf7"),
	"close 2999":        stream(0x88, "\x0b\xb7"),
	"close 5000":        stream(0x88, "\x13\x88"),
	"close bad utf8":    stream(0x88, "\x03\xe8\xff"),
	"close cut utf8":    stream(0x88, "\x03\xe8\xc3"),
	"ws_rsv1":           stream(0xc1, "x"),
	"ws_rsv2":           stream(0x81, "ok", 0xa1, "x"),
	"rsv3":              stream(0x91, "x"),
	"ws_opcode_3":       stream(0x83, "x"),
	"opcode 7":          stream(0x87, "x"),
	"ws_opcode_11":      stream(0x8b, "x"),
	"opcode 15":         stream(0x8f, "x"),
	"ping fragment":     stream(0x09, "x"),
	"close fragment":    stream(0x08, "\x03\xe8"),
	"ping too long":     stream(0x89, strings.Repeat("x", 126)),
	"continuation":      stream(0x80, "x"),
	"continuation late": stream(0x81, "x", 0x00, "x"),
	"text in text":      stream(0x01, "x", 0x81, "x"),
	"binary in text":    stream(0x01, "x", 0x02, "x"),
	"ws_unmasked":       {0x81, 0x01, 'x'},
	"unmasked ping":     {0x89, 0x00},
	"overlong":          stream(0x81, "\xc0\xaf"),
	"surrogate":         stream(0x81, "\xed\xa0\x80"),
	"above 10ffff":      stream(0x81, "\xf4\x90\x80\x80"),
	"last rune":         stream(0x81, "\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80\xe0\xa0\x80\xf0\x90\x80\x80"),
	"cut at end":        stream(0x81, "x\xf0\x9f\x92"),
	"cut at last part":  stream(0x01, "x\xf0\x9f", 0x80, "\x92"),
	"bad in fragments":  stream(0x01, "\xf0\x9f", 0x80, "x\xa7"),
	"bad before end":    stream(0x01, "good", 0x00, "\xff", 0x80, "never"),
	"text not finished": stream(0x81, strings.Repeat("x", 40)+"\xff"+strings.Repeat("x", 40))[:50],
	"two frames cut":    stream(0x81, "one", 0x82, strings.Repeat("two", 30))[:40],
	"long form of 1":    {0x81, 0xfe, 0x00, 0x01, 0, 0, 0, 0, 'x', 0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 'y'},
	"long form of ping": {0x89, 0xfe, 0x00, 0x01, 0, 0, 0, 0, 'x'},
	"length 1<<63":      {0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0},
	"length 1<<62":      {0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0},
	"at frame limit":    stream(0x82, strings.Repeat("x", 200)),
	"over frame limit":  stream(0x81, "x", 0x82, strings.Repeat("x", 201)),
	"at message limit":  stream(0x02, strings.Repeat("x", 200), 0x00, strings.Repeat("y", 99), 0x80, "z"),
	"over message":      stream(0x02, strings.Repeat("x", 200), 0x00, strings.Repeat("y", 99), 0x89, "p", 0x80, "zz"),

	"compressed":                stream(0xc1, hello, 0x81, "plain", 0xc2, hello),
	"compressed fragments":      stream(0x41, hello[:3], 0x89, "mid", 0x00, "", 0x80, hello[3:], 0x81, "x"),
	"compressed and a close":    stream(0x41, hello[:3], 0x88, "\x03\xe8", 0x80, hello[3:]),
	"rsv1 on a continuation":    stream(0x41, hello[:3], 0xc0, hello[3:]),
	"rsv1 on a late fragment":   stream(0x01, "plain", 0xc0, hello),
	"rsv1 on a ping":            stream(0xc9, "x"),
	"rsv1 on a close":           stream(0xc8, "\x03\xe8"),
	"rsv1 and rsv2":             stream(0xe1, hello),
	"compressed in compressed":  stream(0x41, hello[:3], 0xc1, hello),
	"compressed cut at its end": stream(0xc1, hello[:5], 0x81, "x"),
	"compressed garbage":        stream(0xc2, "\xff\xff\xff"),
	"window of the last one":    stream(0xc1, hello, 0xc1, "\xf2\x00\x11\x00\x00"),
	"compressed and no byte":    stream(0xc1, ""),
	"compressed empty":          stream(0xc1, "\x00", 0x42, "", 0x80, "\x00"),
	"behind the final block":    stream(0xc1, final+"\x00", 0xc1, final, 0xc1, final+"\x01"),
	"compressed bad utf8":       stream(0xc2, deflated("ok\xff"), 0xc1, deflated("ok\xff")),
	"compressed split utf8":     stream(0x41, deflated("é\U0001f4a7")[:3], 0x80, deflated("é\U0001f4a7")[3:]),
	"compressed cut utf8":       stream(0xc1, deflated("é\xf0\x9f")),
	"inflates to the limit":     stream(0xc2, deflated(strings.Repeat("x", 300))),
	"inflates over the limit":   stream(0xc2, deflated(strings.Repeat("x", 301))),
	"over the limit and broken": stream(0xc2, deflated(strings.Repeat("x", 301))[:4]+"\xff"),
}

// hello is "Hello" compressed, and final the same in a final block (RFC 7692,
// 7.2.3.1 and 7.2.3.4).
const (
	hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	final = "\xf3\x48\xcd\xc9\xc9\x07\x00"
)

// deflated compresses as a client does, by compress/flate alone.
func deflated(message string) string {
	var b bytes.Buffer
	w := flateWriters.Get().(*flate.Writer)
	defer flateWriters.Put(w)
	w.Reset(&b)
	if _, err := io.WriteString(w, message); err != nil {
		panic(err)
	}
	if err := w.Flush(); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

// flateWriters are kept because a new one takes a millisecond.
var flateWriters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.DefaultCompression)
	if err != nil {
		panic(err)
	}
	return w
}}

// testLimits are small enough for the streams above to cross them.
var testLimits = Limits{MaxFrame: 200, MaxMessage: 300}

func TestStreamsCutAtEveryByte(t *testing.T) {
	for name, b := range streams {
		t.Run(name, func(t *testing.T) {
			for cut := range len(b) + 1 {
				checkStream(t, b, testLimits, []int{cut})
				if len(b) < 64 {
					for second := cut; second <= len(b); second++ {
						checkStream(t, b, testLimits, []int{cut, second})
					}
				}
				// A stream may also end anywhere.
				checkStream(t, b[:cut], testLimits, nil)
			}
		})
	}
}

func TestGeneratedStreams(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var b []byte
		for range rapid.IntRange(1, 8).Draw(rt, "frames") {
			first := rapid.SampledFrom([]byte{0x81, 0x82, 0xc1, 0x41, 0x01, 0x02, 0x00, 0x00, 0x80, 0x80, 0x89, 0x8a}).Draw(rt, "first")
			var payload string
			if rapid.Bool().Draw(rt, "text") {
				payload = rapid.StringN(0, 60, 130).Draw(rt, "payload")
			} else {
				payload = rapid.SampledFrom([]string{"", "\xf0\x9f", "\x92\xa7", "\xc3", "\xa9", "\xff", strings.Repeat("é", 80)}).Draw(rt, "piece")
			}
			switch first {
			case 0xc1:
				payload = deflated(payload)
			case 0x41: // in two fragments
				compressed := deflated(payload)
				at := rapid.IntRange(0, len(compressed)).Draw(rt, "border")
				b = frame(b, first, compressed[:at])
				first, payload = 0x80, compressed[at:]
			}
			b = frame(b, first, payload)
		}
		if rapid.IntRange(0, 3).Draw(rt, "spoil") == 0 {
			b[rapid.IntRange(0, len(b)-1).Draw(rt, "at")] ^= rapid.Byte().Draw(rt, "with")
		}
		cuts := rapid.SliceOfN(rapid.IntRange(0, len(b)), 0, 10).Draw(rt, "cuts")
		slices.Sort(cuts)
		checkStream(t, b, testLimits, cuts)
	})
}

// FuzzDecoder feeds any stream cut anywhere: each byte of cuts is the size of
// a piece.
func FuzzDecoder(f *testing.F) {
	for _, b := range streams {
		f.Add(b, []byte{1, 2, 3})
		f.Add(b, []byte{7, 0, 30})
	}
	f.Fuzz(func(t *testing.T, b, sizes []byte) {
		if len(b) > 1<<12 {
			return // byte by byte is slow and shows nothing more
		}
		var cuts []int
		at := 0
		for _, size := range sizes {
			if at += int(size); at > len(b) {
				break
			}
			cuts = append(cuts, at)
		}
		checkStream(t, b, testLimits, cuts)
	})
}
