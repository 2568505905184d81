package channels_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

// TestSocketBytes: what the channels of a socket keep is bounded, and what they
// have given back can be used again.
func TestSocketBytes(t *testing.T) {
	e := channelstest.Start(t, channels.Options{})
	ch := channels.Handle("*", func(c *channels.Context, p struct{ Bytes int }) (channels.NoReply, error) {
		c.Keep(p.Bytes)
		return channels.NoReply{}, nil
	})
	e.Socket("/socket", channels.SocketOptions{}, ch)
	for _, c := range []struct {
		name        string
		topic, meta int
		least, most int
	}{
		{"ordinary names", 40, 200, 100, 100},
		{"long names", 4000, 0, 64, 72},
		{"large metas", 20, 4000, 64, 72},
		{"both", 4000, 4000, 32, 40},
	} {
		client := channelstest.Connect(t, e, "/socket")
		var joined []*channelstest.Channel
		for len(joined) < 100 {
			topic := fmt.Sprintf("%d%s", len(joined), strings.Repeat("x", c.topic))
			one, reply := client.TryJoin(topic, map[string]int{"bytes": c.meta})
			if reply.Status != "ok" {
				if want := `{"reason":"too many bytes in topics and presences"}`; string(reply.Response) != want {
					t.Errorf("%s: refused with %s, want %s", c.name, reply.Response, want)
				}
				break
			}
			joined = append(joined, one)
		}
		if n := len(joined); n < c.least || n > c.most {
			t.Errorf("%s: %d channels, want %d to %d", c.name, n, c.least, c.most)
		}
		for _, one := range joined {
			one.Leave()
		}
		client.Join("again", map[string]int{"bytes": 1})
	}
	if n := e.Stats().KeptTooMuch; n != 3 {
		t.Errorf("%d refused joins are counted, want 3", n)
	}
}
