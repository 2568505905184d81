//go:build !race

// The race detector makes pools forget.

package packet

import (
	"testing"

	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// silent is a handler that does nothing.
type silent struct{}

func (silent) HandleMessage(bool, []byte) error         { return nil }
func (silent) HandleControl(websocket.Op, []byte) error { return nil }
func (silent) HandleOverhead(int) error                 { return nil }

// A packet costs no allocation, in one piece or in several.
func TestDecoderAllocations(t *testing.T) {
	d, h := Decoder{}, silent{}
	stream := Append(Append(nil, Text, make([]byte, 3000)), Ping, []byte("x"))
	if n := testing.AllocsPerRun(200, func() {
		for _, cut := range []int{len(stream), 3, 700} {
			for _, part := range [][]byte{stream[:cut], stream[cut:]} {
				if _, err := d.FeedSome(part, 1<<20, h); err != nil {
					t.Fatal(err)
				}
			}
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
