package dispatch_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/dispatch"
	"github.com/mycelium-rt/mycelium/internal/race"
)

// count is a dispatcher that does the least.
type count struct{ n int }

func (c *count) Dispatch(subs []dispatch.Subscriber, _ any, _ dispatch.Message) { c.n += len(subs) }

// forever is a message whose count does not matter.
type forever struct{}

func (forever) Retain(int32) {}
func (forever) Release()     {}

func benchPubSub(tb testing.TB, shards int) (*dispatch.PubSub, []*queue) {
	queues := make([]*queue, shards)
	executors := make([]dispatch.Executor, shards)
	for i := range queues {
		queues[i] = &queue{}
		executors[i] = queues[i]
	}
	p, err := dispatch.New(executors, &count{}, dispatch.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return p, queues
}

func TestBroadcastAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("sync.Pool drops at random under the race detector: make test-budgets runs it without")
	}
	p, queues := benchPubSub(t, 4)
	clients := make([]client, 16)
	for i := range clients {
		p.Subscribe(i%4, "room:lobby", &clients[i])
	}
	broadcast := func() {
		if err := p.Broadcast("room:lobby", forever{}, &clients[0]); err != nil {
			t.Fatal(err)
		}
		for _, q := range queues {
			if q.run(1) != 1 {
				t.Fatal("not posted")
			}
		}
	}
	if n := testing.AllocsPerRun(1000, broadcast); n != 0 {
		t.Errorf("%v allocations per broadcast, want 0", n)
	}
	nobody := func() {
		if err := p.Broadcast("room:empty", forever{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(1000, nobody); n != 0 {
		t.Errorf("%v allocations per broadcast to nobody, want 0", n)
	}
	one := &clients[0]
	if n := testing.AllocsPerRun(1000, func() { p.Subscribe(0, "room:lobby", one) }); n != 0 {
		t.Errorf("%v allocations per move within a topic, want 0", n)
	}
}

func BenchmarkBroadcast(b *testing.B) {
	for _, shards := range []int{1, 4} {
		b.Run(fmt.Sprintf("shards=%d", shards), func(b *testing.B) {
			p, queues := benchPubSub(b, shards)
			clients := make([]client, 1000)
			for i := range clients {
				p.Subscribe(i%shards, "room:lobby", &clients[i])
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := p.Broadcast("room:lobby", forever{}, nil); err != nil {
					b.Fatal(err)
				}
				for _, q := range queues {
					q.run(1)
				}
			}
		})
	}
}

// BenchmarkSubscribe is one subscriber that comes and goes beside others that stay.
func BenchmarkSubscribe(b *testing.B) {
	for _, size := range []int{1, 1_000_000} {
		b.Run(fmt.Sprintf("subscribers=%d", size), func(b *testing.B) {
			p, _ := crowd(b, size)
			var c client
			b.ReportAllocs()
			for b.Loop() {
				p.Subscribe(0, "room:lobby", &c)
				p.Unsubscribe(0, &c)
			}
		})
	}
}

// BenchmarkSubscribeRatio prints what it costs at a million to what it costs at one, measured in turns. Of each the best
// batch counts: the others were interrupted.
func BenchmarkSubscribeRatio(b *testing.B) {
	one, _ := crowd(b, 1)
	million, _ := crowd(b, 1_000_000)
	const batch = 1000
	var c client
	turn := func(p *dispatch.PubSub) time.Duration {
		start := time.Now()
		for range batch {
			p.Subscribe(0, "room:lobby", &c)
			p.Unsubscribe(0, &c)
		}
		return time.Since(start)
	}
	atOne, atMillion := turn(one), turn(million)
	for b.Loop() {
		atOne = min(atOne, turn(one))
		atMillion = min(atMillion, turn(million))
	}
	b.ReportMetric(float64(atMillion)/float64(atOne), "ratio")
}

func crowd(tb testing.TB, size int) (*dispatch.PubSub, []client) {
	p, _ := benchPubSub(tb, 1)
	clients := make([]client, size)
	for i := range clients {
		p.Subscribe(0, "room:lobby", &clients[i])
	}
	return p, clients
}
