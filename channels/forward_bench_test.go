package channels_test

import (
	"runtime"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/heaptest"
	"github.com/mycelium-rt/mycelium/internal/race"
)

// forwardWays are how a client reaches an instance.
var forwardWays = []struct {
	name     string
	node     int // the client's; 1 has the instance
	insecure bool
}{{"direct", 1, true}, {"forwarded insecure", 0, true}, {"forwarded", 0, false}}

const wardTarget = "/ward/one/websocket?vsn=2.0.0"

// BenchmarkForwardEcho is a message to the instance and back, one at a time.
func BenchmarkForwardEcho(b *testing.B) { benchmarkForward(b, 1) }

// BenchmarkForwardFanOut is a broadcast that 500 clients read.
func BenchmarkForwardFanOut(b *testing.B) { benchmarkForward(b, 500) }

func benchmarkForward(b *testing.B, receivers int) {
	for _, way := range forwardWays {
		b.Run(way.name, func(b *testing.B) {
			f := joinFleet(b, 2, way.insecure, channels.Options{Loops: 2}, channels.SocketOptions{}, func() []*channels.Channel { return nil })
			openWard(b, f, relaying())
			c := newCrowdAt(b, f.nodes[way.node].server, wardTarget, receivers)
			c.send(b, 10)
			b.ResetTimer()
			c.send(b, b.N)
		})
	}
}

// memoryOf returns how many bytes, on the heap and in stacks, and how many goroutines
// each of n clients takes, including the client's own end.
func memoryOf(t *testing.T, s *server, n int) (bytes, goroutines float64) {
	t.Helper()
	measure := func() (uint64, int) {
		heap := heaptest.Live()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return heap + m.StackInuse, runtime.NumGoroutine()
	}
	s.dialTarget(t, wardTarget, nil)
	before, ran := measure()
	clients := make([]*peer, n)
	for i := range clients {
		clients[i] = s.dialTarget(t, wardTarget, nil)
	}
	after, run := measure()
	runtime.KeepAlive(clients)
	return (float64(after) - float64(before)) / float64(n), float64(run-ran) / float64(n)
}

// TestForwardedMemory: how much more memory a forwarded connection takes, on both nodes
// together, than a direct one to the instance's node.
func TestForwardedMemory(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector takes memory: make test-budgets runs it without")
	}
	if !heaptest.Alone(t) {
		return
	}
	const clients = 500
	var direct, goroutines float64
	for _, way := range forwardWays {
		f := joinFleet(t, 2, way.insecure, channels.Options{Loops: 2}, channels.SocketOptions{}, func() []*channels.Channel { return nil })
		openWard(t, f, relaying())
		bytes, running := memoryOf(t, f.nodes[way.node].server, clients)
		if way.node == 1 {
			direct, goroutines = bytes, running
			continue
		}
		most := 13_000.0 // a tls.Conn at each end
		if way.insecure {
			most = 2500
		}
		t.Logf("%s: %.0f bytes and %.1f goroutines more", way.name, bytes-direct, running-goroutines)
		if bytes-direct > most || running-goroutines > 0.1 {
			t.Errorf("%s: at most %.0f bytes and no goroutine are allowed", way.name, most)
		}
	}
}
