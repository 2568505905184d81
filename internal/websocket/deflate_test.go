package websocket

import (
	"bytes"
	"compress/flate"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"
	"pgregory.net/rapid"

	"github.com/mycelium-rt/mycelium/internal/race"
)

// readCompressed is a client: it checks the frame's head and decompresses.
func readCompressed(t rapid.TB, frame []byte) (op ws.OpCode, message []byte) {
	t.Helper()
	r := bytes.NewReader(frame)
	head, err := ws.ReadHeader(r)
	if err != nil {
		t.Fatal(err)
	}
	f := ws.Frame{Header: head, Payload: frame[len(frame)-r.Len():]}
	if !f.Header.Fin || f.Header.Masked || !f.Header.Rsv1() || f.Header.Rsv2() || f.Header.Rsv3() {
		t.Fatalf("head %+v", f.Header)
	}
	if size := HeaderSize(len(f.Payload)); len(frame) != size+len(f.Payload) || int64(len(f.Payload)) != head.Length {
		t.Fatalf("a frame of %d bytes with a payload of %d, %d by its head", len(frame), len(f.Payload), head.Length)
	}
	if bytes.HasSuffix(f.Payload, []byte("\x00\x00\xff\xff")) {
		t.Fatal("the tail is not removed")
	}
	if f, err = wsflate.DecompressFrame(f); err != nil {
		t.Fatal(err)
	}
	return f.Header.OpCode, f.Payload
}

func TestCompressRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		words := rapid.SliceOfN(rapid.StringN(1, 20, 60), 1, 20).Draw(rt, "words")
		r := rand.New(rand.NewSource(rapid.Int64().Draw(rt, "seed")))
		var message []byte
		for size := rapid.IntRange(0, 60_000).Draw(rt, "size"); len(message) < size; {
			message = append(message, words[r.Intn(len(words))]...)
		}
		op := rapid.SampledFrom([]Op{OpText, OpBinary}).Draw(rt, "op")
		kept := bytes.Clone(message)
		c := Compress(op, message)
		if !bytes.Equal(message, kept) {
			rt.Fatal("the message is changed")
		}
		if c == nil {
			if len(message) > 1000 {
				rt.Fatalf("%d bytes do not get smaller", len(message))
			}
			return
		}
		defer c.Release()
		gotOp, got := readCompressed(rt, c.Bytes())
		if Op(gotOp) != op || !bytes.Equal(got, message) {
			rt.Fatalf("%d bytes of %x become %d others of %x", len(message), op, len(got), gotOp)
		}
		// No second window: each message stands alone.
		again := Compress(op, message)
		defer again.Release()
		if !bytes.Equal(again.Bytes(), c.Bytes()) {
			rt.Fatal("the same message is compressed differently the second time")
		}
	})
}

func TestCompressGainsOrDeclines(t *testing.T) {
	noise := make([]byte, 5000)
	if _, err := rand.New(rand.NewSource(1)).Read(noise); err != nil {
		t.Fatal(err)
	}
	for _, message := range [][]byte{nil, []byte("x"), noise} {
		if c := Compress(OpBinary, message); c != nil {
			t.Errorf("%d bytes become %d", len(message), len(c.Bytes()))
			c.Release()
		}
	}
	// What was declined leaves nothing behind for the next.
	c := Compress(OpText, bytes.Repeat([]byte("a"), 1000))
	defer c.Release()
	if op, got := readCompressed(t, c.Bytes()); op != ws.OpText || len(got) != 1000 {
		t.Errorf("op %d, %d bytes", op, len(got))
	}
}

func TestCompressVector(t *testing.T) {
	c := Compress(OpText, []byte(strings.Repeat("x", 1000)))
	defer c.Release()
	if c.Bytes()[0] != 0xc1 || int(c.Bytes()[1]) != len(c.Bytes())-2 {
		t.Errorf("%s", hex.Dump(c.Bytes()))
	}
	big := Compress(OpBinary, bytes.Repeat([]byte("0123456789abcdef"), 1<<17))
	defer big.Release()
	if big.Bytes()[0] != 0xc2 || big.Bytes()[1] != 126 {
		t.Errorf("head %x", big.Bytes()[:4])
	}
}

func TestCompressFromManyGoroutines(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 50 {
				message := fmt.Sprintf(`[null,null,"room:%d","msg",{"n":%d,"text":%q}]`, i, n, strings.Repeat("all the same ", 50))
				c := Compress(OpText, []byte(message))
				got, code := inflated(c.Bytes()[2:], 1<<20) // a short head: less than 126 bytes
				if code != 0 || string(got) != message {
					t.Errorf("%q, code %d", got, code)
				}
				c.Release()
			}
		})
	}
	wg.Wait()
}

func TestCompressionAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector makes pools forget: make test-budgets runs it without")
	}
	chat := []byte(chatMessage(4096))
	d := Decoder{Deflate: freeWindow}
	var h counter
	feed := func(b []byte) func() {
		scratch := make([]byte, len(b))
		return func() {
			if err := d.Feed(scratch[:copy(scratch, b)], &h); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		most float64
		f    func()
	}{
		"compress":            {0, func() { Compress(OpText, chat).Release() }},
		"compress in vain":    {0, func() { Compress(OpText, chat[:3]) }},
		"inflate fixed codes": {0, feed(stream(0xc1, deflated(heartbeat)))},
		// compress/flate makes the tables of codes of more than 9 bits anew.
		"inflate dynamic codes": {40, feed(stream(0xc1, deflated(string(chat))))},
		"inflate fragments":     {0, feed(stream(0x41, hello[:3], 0x80, hello[3:]))},
	} {
		if n := testing.AllocsPerRun(200, c.f); n > c.most {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// chatMessage is a text of n bytes as a list of chat messages in JSON has it.
func chatMessage(n int) string {
	r := rand.New(rand.NewSource(1))
	words := strings.Fields("hello there channel room what lobby presence meeting tomorrow coffee is the a we to")
	var b strings.Builder
	b.WriteString(`[null,null,"room:lobby","new_msgs",{"items":[`)
	for b.Len() < n {
		fmt.Fprintf(&b, `{"id":%d,"user":"user%d","at":%d,"body":"`, r.Intn(100_000), r.Intn(500), 1_700_000_000_000+r.Int63n(1e9))
		for range 6 {
			b.WriteString(words[r.Intn(len(words))] + " ")
		}
		b.WriteString(`"},`)
	}
	return b.String()[:n]
}

func BenchmarkCompress(b *testing.B) {
	for _, n := range []int{128, 256, 512, 1024, 4096, 65536, 1 << 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			message := []byte(chatMessage(n))
			b.SetBytes(int64(n))
			b.ReportAllocs()
			size := 0
			for b.Loop() {
				c := Compress(OpText, message)
				size = len(c.Bytes())
				c.Release()
			}
			b.ReportMetric(float64(size)/float64(n), "ratio")
		})
	}
}

func BenchmarkInflate(b *testing.B) {
	for _, n := range []int{35, 512, 4096, 65536} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			compressed := []byte(deflated(chatMessage(n)))
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				out, err := inflate(compressed, &defaultLimits)
				if err != nil {
					b.Fatal(err)
				}
				out.Release()
			}
		})
	}
}

// BenchmarkBomb is the most work that a frame can cause before it is refused.
func BenchmarkBomb(b *testing.B) {
	var bomb bytes.Buffer
	w, err := flate.NewWriter(&bomb, flate.BestCompression)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(w, io.LimitReader(zeros{}, 64<<20)); err != nil {
		b.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	compressed := bomb.Bytes()[:4096] // 4 MiB if it were inflated
	for b.Loop() {
		if _, err := inflate(compressed, &Limits{MaxMessage: 1 << 20}); err != errMessageTooBig {
			b.Fatal(err)
		}
	}
}

// zeros is an endless run of zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
