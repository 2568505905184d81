//go:build !race

// The race detector makes pools forget.

package frames

import (
	"testing"

	"github.com/mycelium-rt/mycelium/wire"
)

// What is sent again and again comes from pools, for every key.
func TestAllocations(t *testing.T) {
	p, ref, empty := object(2000), wire.Ref(`"1"`), []byte("{}")
	for name, k := range map[string]Key{
		"common": {}, "version 1": keyOf(t, wire.V1{}, "none"), "compressed": keyOf(t, wire.V2{}, offer), "polling": {Framing: LongPoll},
	} {
		t.Run(name, func(t *testing.T) {
			var s Set
			n := testing.AllocsPerRun(200, func() {
				if err := s.Encode("room:1", "msg", p); err != nil {
					t.Fatal(err)
				}
				var fan Fanout
				fan.Begin(&s, 10)
				for range 10 {
					fan.TakeFrame(k).Release()
				}
				fan.Done()
				s.Release()
				push, err := k.Push(ref, "room:1", "msg", p)
				if err != nil {
					t.Fatal(err)
				}
				push.Release()
				reply, err := k.Reply(ref, ref, "room:1", "ok", p)
				if err != nil {
					t.Fatal(err)
				}
				reply.Release()
				k.Control(ref, "room:1", "phx_close", empty).Release()
			})
			if n > 0 {
				t.Errorf("%v allocations for a broadcast, a push, a reply and phx_close", n)
			}
		})
	}
}
