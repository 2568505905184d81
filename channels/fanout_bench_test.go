package channels

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// sink is a transport that discards what it is sent, so that only the queueing
// is measured.
type sink struct{}

func (sink) send(f *netloop.Frame) { f.Release() }
func (sink) close(uint16, string)  {}
func (sink) drop()                 {}
func (sink) settle()               {}
func (sink) hold()                 {}
func (sink) resume([]byte)         {}
func (sink) lags(int) bool         { return false }
func (sink) notifyDrained()        {}
func (sink) undeliverable()        {}
func (sink) probe(probe)           {}
func (sink) name() string          { return "sink" }

// BenchmarkFanOutBlocks measures how long a loop is blocked while a broadcast
// is queued for the subscribers of a large topic. The writes come later, in
// portions, and the loop looks at its sockets in between.
func BenchmarkFanOutBlocks(b *testing.B) {
	for _, n := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) {
			e, err := NewEndpoint(Options{Loops: 1})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Shutdown(b.Context())
			m := &mount{}
			def := Handle("room:*", func(*Context, Payload) (NoReply, error) { return NoReply{}, nil })
			e.onLoop(0, func() {
				for range n {
					s := &Socket{endpoint: e, mount: m, transport: sink{}, loop: e.tenant.Lanes()[0]}
					e.pubsub.Subscribe(0, "room:1", (*channelSubscriber)(&Context{socket: s, def: def, topic: "room:1", life: life{view: joined}}))
				}
			})
			took := make([]time.Duration, 0, b.N)
			for range b.N {
				start := time.Now()
				if err := e.broadcast("room:1", "msg", Payload{Data: []byte(`{"body":"hello"}`)}, nil, nil); err != nil {
					b.Fatal(err)
				}
				e.onLoop(0, func() {}) // behind it
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs/blocked")
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/float64(n), "ns/subscriber")
		})
	}
}
