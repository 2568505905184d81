package channels

import (
	"fmt"
	"runtime"
	"testing"
)

// stage is what a message does between the decoder of frames and the queues of
// connections.
type stage struct {
	name      string
	message   string // as it comes; the topics are those of stageChannels
	receivers int    // of the topic, beside the sender
}

var stages = []stage{
	{name: "heartbeat", message: `[null,"7","phoenix","heartbeat",{}]`},
	{name: "join", message: `["1","7","join:1","phx_join",{}]`},
	{name: "event, on the loop", message: `["1","7","loop:1","echo",{"body":"hello"}]`},
	{name: "event, on a goroutine", message: `["1","7","own:1","echo",{"body":"hello"}]`},
	{name: "broadcast, to the sender", message: `["1",null,"loop:1","relay",{"body":"hello"}]`},
	{name: "broadcast, to 100", message: `["1",null,"loop:1","relay",{"body":"hello"}]`, receivers: 99},
}

// stageChannels answer "echo" and relay everything else. "join:*" is joined
// again and again: a join, and the end of the one before.
func stageChannels() []*Channel {
	var all []*Channel
	for _, pattern := range []string{"join:*", "loop:*", "own:*"} {
		ch := Handle(pattern, func(*Context, Payload) (NoReply, error) { return NoReply{}, nil })
		On(ch, "echo", func(_ *Context, p Payload) (Payload, error) { return p, nil })
		ch.OnAny(func(c *Context, event string, p Payload) (Reply, error) { return Reply{}, c.Relay(event, p) })
		if pattern != "own:*" {
			ch.OnLoop()
		}
		all = append(all, ch)
	}
	return all
}

// BenchmarkMessage measures a message from its envelope to the queues of its
// receivers, including its tasks on the loop. BenchmarkFeedWhole of
// internal/websocket measures the stage before, and BenchmarkFanout of
// internal/netloop the stage after.
func BenchmarkMessage(b *testing.B) {
	for _, s := range stages {
		b.Run(s.name, func(b *testing.B) {
			e, err := NewEndpoint(Options{Loops: 1})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Shutdown(b.Context())
			e.Socket("/socket", SocketOptions{}, stageChannels()...)
			m := e.placeAt("/socket/websocket").mount
			buf := make([]byte, 128)
			clients := make([]*Socket, 1+s.receivers)
			e.onLoop(0, func() {
				for i := range clients {
					clients[i] = &Socket{endpoint: e, mount: m, transport: sink{}, loop: e.tenant.Lanes()[0]}
					clients[i].open()
					for _, topic := range []string{"join:1", "loop:1", "own:1"} {
						stageMessage(b, clients[i], buf, fmt.Sprintf(`["1","1",%q,"phx_join",{}]`, topic))
					}
				}
			})
			for e.Stats().Channels < int64(3*len(clients)) {
				runtime.Gosched() // those of own:* join on goroutines
			}
			b.ReportAllocs()
			b.ResetTimer()
			for left := b.N; left > 0; left -= stageChunk {
				e.onLoop(0, func() {
					for range min(left, stageChunk) {
						stageMessage(b, clients[0], buf, s.message)
					}
				})
				for e.callbacks.Load() > 0 {
					runtime.Gosched()
				}
				e.onLoop(0, func() {}) // what they have posted
			}
			b.StopTimer()
			e.onLoop(0, func() {
				for _, s := range clients {
					s.shutdown(ErrClosed)
				}
			})
		})
	}
}

// stageChunk is how many messages come at once, fewer than a mailbox takes.
const stageChunk = 64

// stageMessage hands a socket a message in a buffer that it may change, as the
// loop does.
func stageMessage(b *testing.B, s *Socket, buf []byte, text string) {
	if err := s.handleMessage(false, buf[:copy(buf, text)]); err != nil {
		b.Error(err)
	}
}
