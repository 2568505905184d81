package websocket

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/gobwas/ws"
)

// counting adds up what it is given.
type counting struct{ bytes int }

func (c *counting) HandleMessage(_ bool, p []byte) error { c.bytes += len(p); return nil }
func (c *counting) HandleControl(Op, []byte) error       { return nil }

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
