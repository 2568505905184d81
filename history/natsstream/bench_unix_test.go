//go:build unix

package natsstream_test

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mycelium-rt/mycelium/cluster/natscluster"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/history/natsstream"
)

// BenchmarkDurable measures a message from Append until it is stored, and until it has come
// back: one after the other, and with 256 outstanding. cpu-µs/op is the processor time of
// the whole process, JetStream included.
func BenchmarkDurable(b *testing.B) {
	for _, outstanding := range []int{1, 256} {
		b.Run(fmt.Sprintf("outstanding=%d", outstanding), func(b *testing.B) { benchDurable(b, outstanding) })
	}
}

func benchDurable(b *testing.B, outstanding int) {
	transport, err := natscluster.Embed(natscluster.EmbedOptions{Cluster: "test", Name: "a", StoreDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer transport.Close()
	store := history.NewStore(history.Options{})
	defer store.Close()
	stream := natsstream.New(store, natsstream.Options{Open: func() (jetstream.JetStream, error) { return transport.OpenJetStream() }, MaxBytes: 512 << 20})
	defer stream.Close(b.Context())
	space, err := store.Space("", []history.Rule{{Durable: true}})
	if err != nil {
		b.Fatal(err)
	}
	if err := stream.Loaded(b.Context()); err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 100)
	took := make([]time.Duration, b.N)
	room := make(chan struct{}, outstanding)
	var all sync.WaitGroup
	before := processorTime()
	b.ResetTimer()
	for i := range b.N {
		room <- struct{}{}
		all.Add(1)
		start := time.Now()
		space.Append(fmt.Sprint("room:", i%10), &history.Message{Event: "msg", Payload: payload}, func(err error) {
			if err != nil {
				b.Error(err)
			}
			took[i] = time.Since(start)
			<-room
			all.Done()
		})
	}
	all.Wait()
	for int(store.Stats().Recorded) < b.N {
		time.Sleep(100 * time.Microsecond)
	}
	b.StopTimer()
	b.ReportMetric(float64((processorTime()-before).Nanoseconds())/1e3/float64(b.N), "cpu-µs/op")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-µs")
}

func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
