package websocket

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// counting adds up what it is given.
type counting struct{ bytes, units int }

func (c *counting) HandleMessage(_ bool, p []byte) error { c.bytes += len(p); return nil }
func (c *counting) HandleControl(Op, []byte) error       { return nil }
func (c *counting) HandleOverhead(units int) error       { c.units += units; return nil }

// A message in very many fragments costs what its bytes cost: one that was
// copied whole for each of them would hold up every connection of its loop.
func TestManyFragments(t *testing.T) {
	const size, fragment = 4 << 20, 64
	var stream bytes.Buffer
	for i := 0; i < size; i += fragment {
		op := ws.OpContinuation
		if i == 0 {
			op = ws.OpText
		}
		payload := bytes.Repeat([]byte("*"), fragment)
		if err := ws.WriteFrame(&stream, ws.MaskFrame(ws.NewFrame(op, i+fragment >= size, payload))); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var d Decoder
	var c counting
	if err := d.Feed(stream.Bytes(), &c); err != nil || c.bytes != size {
		t.Fatalf("%d bytes, %v", c.bytes, err)
	}
	runtime.ReadMemStats(&after)
	if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 4*size {
		t.Errorf("%d MiB allocated for a message of %d MiB", allocated>>20, size>>20)
	}
}

// TestOverhead: small fragments and what inflates far are reported, so that a
// client that sends nothing else does not go uncounted. Large fragments are what
// clients send by themselves.
func TestOverhead(t *testing.T) {
	frame := func(op ws.OpCode, fin bool, size int) string {
		return string(ws.MustCompileFrame(ws.MaskFrame(ws.NewFrame(op, fin, bytes.Repeat([]byte("*"), size)))))
	}
	zeros := func(n int) string { return string(stream(0xc1, deflated(strings.Repeat("0", n)))) }
	for _, c := range []struct {
		name   string
		stream string
		want   int
	}{
		{"messages", strings.Repeat(frame(ws.OpText, true, 0), 100), 0},
		{"empty continuations", frame(ws.OpText, false, 0) + strings.Repeat(frame(ws.OpContinuation, false, 0), 99), 100},
		{"pings between fragments", frame(ws.OpText, false, 10) + strings.Repeat(frame(ws.OpPing, true, 0), 9) + frame(ws.OpContinuation, true, 0), 1},
		{"large fragments", frame(ws.OpText, false, 4096) + strings.Repeat(frame(ws.OpContinuation, false, 4096), 99), 0},
		{"a message that inflates as chats do", string(stream(0xc1, deflated(strings.Repeat(heartbeat, 20)))), 0},
		{"a small one that inflates far", zeros(33_000), 6},
		{"a large one that inflates far", zeros(1 << 20), 230},
	} {
		for _, cut := range []int{1, 7, len(c.stream)} {
			d, h := Decoder{Deflate: freeWindow}, counting{}
			for at := 0; at < len(c.stream); at += cut {
				if err := d.Feed([]byte(c.stream[at:min(at+cut, len(c.stream))]), &h); err != nil {
					t.Fatal(c.name, err)
				}
			}
			d.Reset()
			if h.units < c.want || h.units > c.want+c.want/8 {
				t.Errorf("%s, %d bytes at a time: %d units, want %d", c.name, cut, h.units, c.want)
			}
		}
	}
}
