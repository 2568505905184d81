package natscluster

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/pubsub"
)

// benchNodes starts n nodes with embedded servers that all see each other, and
// opens a bus on each; receive gets what arrives at nodes other than the first.
func benchNodes(b *testing.B, n int, receive func(node int, data []byte)) []pubsub.Bus {
	b.Helper()
	var nodes []*cluster.Node
	var routes []string
	var buses []pubsub.Bus
	for i := range n {
		transport, err := Embed(EmbedOptions{Cluster: "bench", Name: fmt.Sprint("node-", i), Listen: "127.0.0.1:0", Routes: routes, Secret: secret, Insecure: true})
		if err != nil {
			b.Fatal(err)
		}
		routes = append(routes, "nats://"+transport.RouteAddr().String())
		node, err := cluster.Start(transport, cluster.SystemClock(), cluster.Options{Name: fmt.Sprint("node-", i)})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { node.Close() })
		nodes = append(nodes, node)
		bus := node.Bus("")
		if err := bus.Open(func(_ string, data []byte) { receive(i, data) }); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { bus.Close() })
		for topic := range benchTopics {
			bus.Interest(benchTopic(topic), true)
		}
		buses = append(buses, bus)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if !slices.ContainsFunc(nodes, func(node *cluster.Node) bool { return up(node) != n-1 }) {
			return buses
		}
		if time.Now().After(deadline) {
			b.Fatal("the nodes do not find each other")
		}
	}
}

const benchTopics = 1000

func benchTopic(i int) string { return fmt.Sprint("room:", i) }

// cpuTime returns the processor time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkEntries measures what a broadcast of 300 bytes costs three nodes together when
// there are so many that they are sent in batches: one publishes, two receive.
func BenchmarkEntries(b *testing.B) {
	var received atomic.Int64
	buses := benchNodes(b, 3, func(int, []byte) { received.Add(1) })
	payload := make([]byte, 300)
	topics := make([]string, benchTopics)
	for i := range topics {
		topics[i] = benchTopic(i)
	}
	received.Store(0)
	b.ResetTimer()
	before := cpuTime(b)
	for i := range b.N {
		for buses[0].Publish(topics[i%benchTopics], payload) != nil { // too much waits
			time.Sleep(100 * time.Microsecond)
		}
		for i-int(received.Load())/2 > 20_000 { // as endpoints do that wait for their loops
			time.Sleep(100 * time.Microsecond)
		}
	}
	for received.Load() < 2*int64(b.N) {
		time.Sleep(100 * time.Microsecond)
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/entry")
}

// BenchmarkPaced measures how late broadcasts of 300 bytes arrive at another node when
// there are 30,000 a second.
func BenchmarkPaced(b *testing.B) {
	const rate = 30_000
	begun := time.Now()
	late := make([]time.Duration, 0, b.N)
	done := make(chan struct{})
	buses := benchNodes(b, 2, func(_ int, data []byte) {
		late = append(late, time.Since(begun)-time.Duration(binary.BigEndian.Uint64(data)))
		if len(late) == b.N {
			close(done)
		}
	})
	payload := make([]byte, 300)
	b.ResetTimer()
	start := time.Since(begun)
	before := cpuTime(b)
	for i := range b.N {
		due := start + time.Duration(i)*time.Second/rate
		if wait := due - time.Since(begun); wait > 50*time.Microsecond {
			time.Sleep(wait)
		}
		binary.BigEndian.PutUint64(payload, uint64(time.Since(begun)))
		if err := buses[0].Publish("room:1", payload); err != nil {
			b.Fatal(err)
		}
	}
	<-done
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/entry")
	slices.Sort(late)
	b.ReportMetric(float64(late[len(late)/2])/1e6, "p50-ms")
	b.ReportMetric(float64(late[len(late)*99/100])/1e6, "p99-ms")
}
