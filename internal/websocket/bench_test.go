package websocket

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
)

// counter is a handler that costs nothing.
type counter struct{ n int }

func (c *counter) HandleMessage(bool, []byte) error { c.n++; return nil }
func (c *counter) HandleControl(Op, []byte) error   { c.n++; return nil }
func (c *counter) HandleOverhead(int) error         { return nil }

const heartbeat = `[null,"1","phoenix","heartbeat",{}]`

func TestAllocations(t *testing.T) {
	var d Decoder
	var h counter
	out := make([]byte, 0, 256)
	whole := stream(0x81, heartbeat)
	pings := stream(0x89, "ping", 0x8a, "", 0x82, "binary")
	scratch := make([]byte, 256)
	feedCopy := func(b []byte) {
		if err := d.Feed(scratch[:copy(scratch, b)], &h); err != nil {
			t.Fatal(err)
		}
	}
	for name, f := range map[string]func(){
		"a whole masked frame":       func() { feedCopy(whole) },
		"control frames":             func() { feedCopy(pings) },
		"a head and then a payload":  func() { feedCopy(whole[:3]); feedCopy(whole[3:6]); feedCopy(whole[6:]) },
		"an outgoing frame":          func() { out = AppendFrame(out[:0], OpText, whole) },
		"an outgoing head":           func() { PutHeader(out[:MaxHeaderSize], OpText, 1<<20) },
		"a close":                    func() { out = AppendClose(out[:0], 1000, "bye") },
		"the end of a head":          func() { HeadEnd(whole, 0) },
		"an error and a new decoder": func() { refuse(t, &d, scratch, &h) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// refuse makes the decoder fail and renews it.
func refuse(t *testing.T, d *Decoder, scratch []byte, h Handler) {
	scratch[0], scratch[1] = 0x81, 0x01 // not masked
	if d.Feed(scratch[:2], h) == nil {
		t.Fatal("an unmasked frame is accepted")
	}
	d.Reset()
}

func BenchmarkFeedWhole(b *testing.B) {
	for _, n := range []int{35, 1024, 65536} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { benchmarkFeed(b, stream(0x81, strings.Repeat("x", n)), 1<<30) })
	}
}

func BenchmarkFeedCut(b *testing.B) {
	benchmarkFeed(b, stream(0x81, strings.Repeat("x", 1024)), 500)
}

func BenchmarkFeedFragments(b *testing.B) {
	half := strings.Repeat("x", 512)
	benchmarkFeed(b, stream(0x01, half, 0x80, half), 1<<30)
}

func benchmarkFeed(b *testing.B, frames []byte, piece int) {
	var d Decoder
	var h counter
	scratch := make([]byte, len(frames))
	b.SetBytes(int64(len(frames)))
	b.ReportAllocs()
	for b.Loop() {
		copy(scratch, frames)
		for rest := scratch; len(rest) > 0; {
			n := min(piece, len(rest))
			if err := d.Feed(rest[:n], &h); err != nil {
				b.Fatal(err)
			}
			rest = rest[n:]
		}
	}
}

func BenchmarkAppendFrame(b *testing.B) {
	payload := bytes.Repeat([]byte("x"), 128)
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendFrame(dst[:0], OpText, payload)
	}
}

func BenchmarkHandshake(b *testing.B) {
	head := []byte(goodHead())
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		r, err := ParseRequest(head)
		if err != nil {
			b.Fatal(err)
		}
		if err := r.CheckUpgrade(); err != nil {
			b.Fatal(err)
		}
		dst = AppendAccept(dst[:0], Accept{Key: r.Key()})
	}
}
