package hooks

import (
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
	"github.com/mycelium-rt/mycelium/presence"
)

// TestListedOnceSubscribed: a client that joins is listed by its back end when what is sent
// to the topic reaches it, not before.
func TestListedOnceSubscribed(t *testing.T) {
	b := serveBackend(t, func(Request) any { return object{"allow": true, "track": object{"key": "ann"}} })
	e := channelstest.Start(t, channels.Options{Loops: 1})
	d, err := New(Options{Hooks: []Hook{b.hook(Join)}, Instance: "default"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	who := presence.New(e.Endpoint, presence.Options{})
	t.Cleanup(who.Close)
	early := make(chan int, 1)
	ch := channels.Handle("*", func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
		early <- len(who.List(c.Topic()))
		return channels.NoReply{}, nil
	})
	e.Socket("/socket", d.Protect(channels.SocketOptions{}, TrackWith(who)), ch)
	channelstest.Connect(t, e, "/socket").Join("room:1", nil)
	if n := <-early; n != 0 {
		t.Errorf("%d listed in the join's callback", n)
	}
	waittest.For(t, "ann to be listed", func() bool { return len(who.List("room:1")) == 1 })
}
