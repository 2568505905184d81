package channels_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

func TestKey(t *testing.T) {
	name, other, count := channels.NewKey[string]("name"), channels.NewKey[string]("name"), channels.NewKey[int]("count")
	failure := channels.NewKey[error]("failure")
	room := channels.Handle("room", func(c *channels.Context, _ channels.Payload) (map[string]string, error) {
		before := fmt.Sprint(name.Get(c), count.Get(c), name.Get(c.Socket()))
		name.Set(c, "channel's")
		failure.Set(c, nil)
		_, isSet := other.Lookup(c)
		failed, isNil := failure.Lookup(c)
		return map[string]string{
			"before": before, "after": fmt.Sprint(name.Get(c), count.Get(c), name.Get(c.Socket())),
			"others": fmt.Sprint(isSet, failed, isNil, c.Get("name"), name),
			"all":    fmt.Sprint(c.Assigns()),
		}, nil
	})
	e := channelstest.Start(t, channels.Options{})
	e.Socket("/socket", channels.SocketOptions{Connect: func(_ context.Context, s *channels.Socket, _ *channels.Request) error {
		name.Set(s, "socket's")
		count.Set(s, 7)
		return nil
	}}, room)
	_, reply := channelstest.Connect(t, e, "/socket").TryJoin("room", nil)
	want := `{"after":"channel's7socket's","all":"map[count:7 failure:<nil> name:channel's]",` +
		`"before":"socket's7socket's","others":"false <nil> true <nil> name"}`
	if string(reply.Response) != want {
		t.Errorf("%s\nwant %s", reply.Response, want)
	}
}
