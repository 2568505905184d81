package presence_test

import (
	"context"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/presence"
)

// joined is what the channel of the test sends itself in the join.
type joined struct{}

// TestFetchOverTheNetwork: clients get what Fetch adds, and a Fetch that blocks holds up neither the event loop nor
// other messages.
func TestFetchOverTheNetwork(t *testing.T) {
	release := make(chan struct{})
	endpoint := channelstest.Start(t, channels.Options{Loops: 1})
	who := presence.New(endpoint.Endpoint, presence.Options{
		Fetch: func(_ context.Context, _ string, presences map[string]presence.Entry) (map[string]any, error) {
			<-release
			added := make(map[string]any)
			for key := range presences {
				added[key] = map[string]any{"user": "user " + key}
			}
			return added, nil
		},
	})
	t.Cleanup(who.Close)
	room := channels.Handle("room", func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, c.Send(joined{})
	}).OnLoop()
	channels.Info(room, func(c *channels.Context, _ joined) error {
		if _, err := who.Track(c, "ada", struct{}{}); err != nil {
			return err
		}
		return who.PushState(c)
	})
	channels.On(room, "ping", func(*channels.Context, channels.Payload) (channels.Reply, error) {
		return channels.Reply{Status: "ok"}, nil
	})
	endpoint.Socket("/socket", channels.SocketOptions{}, room)
	ada := channelstest.Connect(t, endpoint, "/socket").Join("room", nil)
	ada.Push("ping", nil).AssertReply("ok", nil)
	close(release)
	present := map[string]any{"ada": map[string]any{"user": "user ada"}}
	ada.AssertPush(presence.EventDiff, map[string]any{"joins": present})
	ada.AssertPush(presence.EventState, present)
}
