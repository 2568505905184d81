package sim

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/pubsub"
	"github.com/mycelium-rt/mycelium/pubsub/pubsubtest"
)

// TestBus runs the suite of buses over the simulated network: a good one, and one that
// loses packets, repeats them, and delays them.
func TestBus(t *testing.T) {
	for name, noise := range map[string]Noise{
		"good": {Delay: time.Millisecond},
		"bad":  {Drop: 0.1, Repeat: 0.01, Delay: 20 * time.Millisecond, Late: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			pubsubtest.Run(t, func(t *testing.T) (a, b pubsub.Bus) {
				w := New(1)
				w.Noise = noise
				nodes := []*Life{w.AddHost("a").Start(cluster.Options{}), w.AddHost("b").Start(cluster.Options{})}
				up := func() bool { return isUp(nodes[0]) && isUp(nodes[1]) }
				if w.Run(time.Minute, up) {
					t.Fatal("the nodes have not found each other within a minute")
				}
				m := letPass(t, w)
				return &outsideBus{m, nodes[0].Node.Bus("")}, &outsideBus{m, nodes[1].Node.Bus("")}
			})
		})
	}
}

func isUp(l *Life) bool {
	peers := l.Node.Stats().Peers
	return len(peers) == 1 && peers[0].Up
}

// letPass lets time pass in a world until the test ends. Who does anything there meanwhile
// holds the mutex that it returns.
func letPass(t *testing.T, w *World) *sync.Mutex {
	m, stop := new(sync.Mutex), make(chan struct{})
	var passing sync.WaitGroup
	passing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				m.Lock()
				w.Run(5*time.Millisecond, func() bool { return false })
				m.Unlock()
				runtime.Gosched()
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		passing.Wait()
	})
	return m
}

// outsideBus is a bus of a world in which time passes.
type outsideBus struct {
	world *sync.Mutex
	bus   pubsub.Bus
}

// Open implements pubsub.Bus.
func (b *outsideBus) Open(receive func(topic string, data []byte)) error {
	b.world.Lock()
	defer b.world.Unlock()
	return b.bus.Open(receive)
}

// Publish implements pubsub.Bus.
func (b *outsideBus) Publish(topic string, data []byte) error {
	b.world.Lock()
	defer b.world.Unlock()
	return b.bus.Publish(topic, data)
}

// Interest implements pubsub.Bus.
func (b *outsideBus) Interest(topic string, interested bool) {
	b.world.Lock()
	defer b.world.Unlock()
	b.bus.Interest(topic, interested)
}

// Close implements pubsub.Bus.
func (b *outsideBus) Close() error {
	b.world.Lock()
	defer b.world.Unlock()
	return b.bus.Close()
}
