package channels_test

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/pubsub"
)

// busyBus is a bus that can be made to refuse everything.
type busyBus struct {
	pubsub.Bus
	busy atomic.Bool
}

func (b *busyBus) Publish(topic string, data []byte) error {
	if b.busy.Load() {
		return pubsub.ErrBusy
	}
	return b.Bus.Publish(topic, data)
}

// TestBusyBus: while the other nodes are not reached, this node's clients get broadcasts,
// the sender gets an error, and no channel ends.
func TestBusyBus(t *testing.T) {
	hub := pubsub.NewHub()
	bus := &busyBus{Bus: hub.Node()}
	here, there := channelstest.Start(t, channels.Options{Bus: bus}), channelstest.Start(t, channels.Options{Bus: hub.Node()})
	for _, onLoop := range []bool{false, true} {
		path := map[bool]string{false: "/slow", true: "/quick"}[onLoop]
		ch := channels.Handle("room:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) { return channels.NoReply{}, nil })
		if onLoop {
			ch.OnLoop()
		}
		channels.On(ch, "say", func(c *channels.Context, p channels.Payload) (channels.NoReply, error) {
			return channels.NoReply{}, c.Relay("said", p)
		})
		here.Socket(path, channels.SocketOptions{}, ch)
		there.Socket(path, channels.SocketOptions{}, ch)
		topic := "room:" + path
		ada := channelstest.Connect(t, here, path).Join(topic, nil)
		eve := channelstest.Connect(t, there, path).Join(topic, nil)

		bus.busy.Store(true)
		ada.Push("say", map[string]int{"n": 1}).AssertReply("error", map[string]string{"reason": "overloaded"})
		ada.AssertBroadcast("said", map[string]int{"n": 1})
		before := here.Stats().Overloaded
		for _, err := range []error{here.Broadcast(topic, "said", map[string]int{"n": 2}), here.Disconnect("nobody")} {
			if !errors.Is(err, channels.ErrOverloaded) {
				t.Errorf("with a busy bus: %v, want ErrOverloaded", err)
			}
		}
		ada.AssertBroadcast("said", map[string]int{"n": 2})
		if n := here.Stats().Overloaded - before; n != 2 {
			t.Errorf("%d are counted, want 2", n)
		}

		bus.busy.Store(false)
		ada.Push("say", map[string]int{"n": 3})
		eve.AssertBroadcast("said", map[string]int{"n": 3})
	}
}
