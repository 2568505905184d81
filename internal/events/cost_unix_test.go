//go:build unix

package events_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/events"
	"github.com/mycelium-rt/mycelium/internal/webhook"
)

// cpuTime returns the processor time that this process has used.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTold publishes messages of 200 bytes, with and without a hook that is sent
// each of them over HTTP, signed, in batches, from an outbox on disk. ns-cpu/op is the
// processor time of the process for one message; with the hook it includes a back end
// that reads the requests and does nothing with them.
func BenchmarkTold(b *testing.B) {
	back := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
	}))
	b.Cleanup(back.Close)
	for _, hooked := range []bool{false, true} {
		b.Run(fmt.Sprintf("hook=%t", hooked), func(b *testing.B) {
			var hooks []events.Hook
			if hooked {
				secret, err := webhook.ParseSecret(base64.StdEncoding.EncodeToString(make([]byte, 32)))
				if err != nil {
					b.Fatal(err)
				}
				caller, err := webhook.New(webhook.Options{URL: back.URL, Secret: secret, Timeout: 10 * time.Second, Concurrency: 1})
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(caller.Close)
				h := hookOf(b, "app", new(backend), nil, nil)
				h.Send = func(ctx context.Context, id string, body []byte) error {
					return caller.Call(ctx, webhook.Message{ID: id, Body: body})
				}
				hooks = append(hooks, h)
			}
			s := startServer(b, b.TempDir(), hooks...)
			defer s.stop()
			payload := []byte(`{"text":"` + string(make200()) + `"}`)
			began, n := cpuTime(b), 0
			for b.Loop() {
				if err := s.manager.Broadcast("r", "room:1", "new_msg", payload); err != nil {
					b.Fatal(err)
				}
				n++
			}
			for hooked && s.events.StatsOf("r").Hooks[0].Waiting > 0 {
				time.Sleep(time.Millisecond)
			}
			b.ReportMetric(float64(cpuTime(b)-began)/float64(n), "ns-cpu/op")
		})
	}
}

func make200() []byte {
	text := make([]byte, 200)
	for i := range text {
		text[i] = 'x'
	}
	return text
}
