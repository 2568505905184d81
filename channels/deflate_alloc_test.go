//go:build !race

// The race detector makes pools forget.

package channels

import (
	"testing"

	"github.com/mycelium-rt/mycelium/wire"
)

func TestCompressedBroadcastAllocations(t *testing.T) {
	p, s, ref := longPayload(2000), deflating(t, wire.V2, offer), wire.Ref(`"1"`)
	n := testing.AllocsPerRun(200, func() {
		b, err := newBroadcast("room:1", "msg", p)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			b.frameFor(s)
		}
		b.Release()
		f, err := s.pushFrame(ref, "room:1", "msg", p)
		if err != nil {
			t.Fatal(err)
		}
		f.Release()
	})
	if n > 0 {
		t.Errorf("%v allocations for a compressed broadcast and push", n)
	}
}
