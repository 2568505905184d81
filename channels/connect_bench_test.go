package channels_test

import (
	"context"
	"net"
	"runtime"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/race"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// connecting is a way to connect and join, and its budget.
type connecting struct {
	name               string
	options            channels.SocketOptions
	channel            func() *channels.Channel
	allocations, bytes float64
}

// accept is a Connect that knows its client.
func accept(_ context.Context, s *channels.Socket, r *channels.Request) error {
	s.SetID("users_socket:1")
	s.Assign("version", r.Params.Get("vsn"))
	return nil
}

func quickRoom() *channels.Channel { return publishing("room:*").OnLoop() }

func slowRoom() *channels.Channel { return publishing("room:*") }

// Each budget is a tenth above what was measured: 9.6 allocations and 936
// bytes, 12.6 and 1,064, 12.6 and 1,072, 25.6 and 2,688. The last way reuses
// nothing for the next client, because its Connect may keep any part of the
// request. Half of its bytes are the header fields.
var connectings = []connecting{
	{"all on the loop", channels.SocketOptions{}, quickRoom, 11, 1030},
	{"Connect on the loop too", channels.SocketOptions{Connect: accept, ConnectOnLoop: true, ReuseRequest: true}, quickRoom, 14, 1170},
	{"join may block", channels.SocketOptions{}, slowRoom, 14, 1180},
	{"both may block", channels.SocketOptions{Connect: accept}, slowRoom, 29, 2960},
}

// What a connection costs the garbage collector from accept(2) to the reply of
// its join. The clients live in a process of their own.
func TestConnectAllocations(t *testing.T) {
	if race.Enabled || testing.Short() {
		t.Skip("the race detector allocates: make test-budgets runs it without")
	}
	const clients = 2000
	for _, way := range connectings {
		t.Run(way.name, func(t *testing.T) {
			s := serve(t, channels.Options{}, way.options, way.channel())
			s.dial(t).join("room:lobby", "{}") // what is made only once
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			release := startCrowd(t, s.addr, clients)
			waitFor(t, "the crowd", func() bool { return s.Stats().Channels == clients+1 })
			runtime.ReadMemStats(&after)
			release()
			allocations := float64(after.Mallocs-before.Mallocs) / clients
			bytes := float64(after.TotalAlloc-before.TotalAlloc) / clients
			t.Logf("%.1f allocations, %.0f bytes for a connection that joins", allocations, bytes)
			if allocations > way.allocations || bytes > way.bytes {
				t.Errorf("%.1f allocations, %.0f bytes for a connection that joins, at most %.0f and %.0f are allowed",
					allocations, bytes, way.allocations, way.bytes)
			}
		})
	}
}

// BenchmarkConnect is a client that connects, joins and leaves; what its own
// end allocates is counted too.
func BenchmarkConnect(b *testing.B) {
	for _, way := range connectings {
		b.Run(way.name, func(b *testing.B) {
			s := serve(b, channels.Options{}, way.options, way.channel())
			hello := string(wstest.AppendHandshake(nil, "/socket/websocket?vsn=2.0.0", nil)) + string(frames(`["1","1","room:1","phx_join",{}]`))
			b.ReportAllocs()
			for b.Loop() {
				c, err := net.Dial("tcp", s.addr)
				if err != nil {
					b.Fatal(err)
				}
				if err := joinBare(c, hello); err != nil {
					b.Fatal(err)
				}
				c.(*net.TCPConn).SetLinger(0) // nothing stays in TIME_WAIT
				c.Close()
			}
		})
	}
}
