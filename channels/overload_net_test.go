package channels_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/prepared"
)

// TestOverloadedGuest: if a guest broadcasts more than its loops can send, its
// broadcasts are refused, and pushes of its channels wait, until that is worked
// off. Its neighbour and its host are not affected.
func TestOverloadedGuest(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Loops = 1
		h := openInn(t, o)
		members, waited := make(chan *channels.Context, 1), make(chan error, 1)
		ch := channels.Handle("push:*", func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
			members <- c
			return channels.NoReply{}, nil
		})
		flooded := h.invite(t, "flooded", channels.Options{}, channels.SocketOptions{}, ch)
		quiet := h.invite(t, "quiet", channels.Options{}, channels.SocketOptions{}, relayAll())
		p := h.dialTarget(t, "/socket/flooded/websocket?vsn=2.0.0", nil)
		p.join("push:1", "{}")
		joined := <-members

		gate, inside := make(chan struct{}), make(chan struct{})
		listener := flooded.Subscribe("gate", func(string, string, channels.Payload) { close(inside); <-gate })
		defer listener.Close()
		subscribed := flooded.Subscribe("flood", func(string, string, channels.Payload) {})
		defer subscribed.Close()
		if err := flooded.Broadcast("gate", "hold", struct{}{}); err != nil {
			t.Fatal(err)
		}
		<-inside
		var err error
		for i := 0; err == nil && i < 1<<20; i++ {
			err = flooded.Broadcast("flood", "flood", struct{}{})
		}
		if !errors.Is(err, channels.ErrOverloaded) || !errors.Is(flooded.Ready(), channels.ErrOverloaded) {
			t.Errorf("the flood ended with %v, ready: %v", err, flooded.Ready())
		}
		if n := flooded.Stats().Overloaded; n != 1 {
			t.Errorf("%d counted", n)
		}
		for _, e := range []*channels.Endpoint{quiet, h.Endpoint} {
			if err := errors.Join(e.Broadcast("flood", "flood", struct{}{}), e.Ready()); err != nil {
				t.Errorf("another endpoint: %v", err)
			}
		}
		if err := errors.Join(flooded.BroadcastLocal("flood", "diff", &prepared.Diff{JSON: []byte("{}")}), flooded.Disconnect("nobody")); err != nil {
			t.Errorf("what is never refused: %v", err)
		}
		go func() { waited <- joined.Push("waited", struct{}{}) }()
		select {
		case err := <-waited:
			t.Errorf("a push of an overloaded guest did not wait: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		close(gate)
		p.await("waited")
		if err := <-waited; err != nil {
			t.Error(err)
		}
		waitFor(t, "the flood to be worked off", func() bool { return flooded.Ready() == nil })
		if err := flooded.Broadcast("flood", "flood", struct{}{}); err != nil {
			t.Error(err)
		}
	})
}
