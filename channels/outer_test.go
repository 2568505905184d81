package channels_test

import (
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

// TestOuter: middleware of a socket goes around that of its channels, for its own topics alone. It may
// block, even for a channel that declared OnLoop, while the loop and other topics go on.
func TestOuter(t *testing.T) {
	e := channelstest.Start(t, channels.Options{Loops: 1})
	var mu sync.Mutex
	var calls []string
	release := make(chan struct{})
	note := func(name string, wait bool) channels.Middleware {
		return func(next channels.Handler) channels.Handler {
			return func(c *channels.Context, p channels.Payload) (channels.Reply, error) {
				mu.Lock()
				calls = append(calls, name+" "+c.Event())
				mu.Unlock()
				if wait && c.Event() == "first" {
					<-release
				}
				return next(c, p)
			}
		}
	}
	room := channels.Handle("*", func(*channels.Context, struct{}) (channels.NoReply, error) { return channels.NoReply{}, nil }).OnLoop()
	room.OnAny(func(c *channels.Context, event string, _ channels.Payload) (channels.Reply, error) {
		return channels.Reply{Status: "ok", Response: c.Pattern() + " " + c.Subtopic() + " " + event}, nil
	})
	room.Use(note("inner", false))
	e.Socket("/socket", channels.SocketOptions{Outer: &channels.Outer{
		Topics: func(topic string) bool { return topic == "wrapped" },
		Use:    note("outer", true),
	}}, room)

	client := channelstest.Connect(t, e, "/socket")
	wrapped, plain := client.Join("wrapped", nil), client.Join("plain", nil)
	first, second := wrapped.Push("first", nil), wrapped.Push("second", nil)
	if got := plain.Push("other", nil).Reply(); got.Status != "ok" {
		t.Errorf("another topic of the same client got %+v while the middleware waited", got)
	}
	close(release)
	first.AssertReply("ok", "* wrapped first")
	second.AssertReply("ok", "* wrapped second")

	mu.Lock()
	defer mu.Unlock()
	want := map[string]int{"outer phx_join": 1, "inner phx_join": 2, "outer first": 1, "inner first": 1, "outer second": 1, "inner second": 1, "inner other": 1}
	got := make(map[string]int)
	for _, c := range calls {
		got[c]++
	}
	if !maps.Equal(got, want) {
		t.Errorf("calls %v, want %v", got, want)
	}
	if i, j := slices.Index(calls, "outer first"), slices.Index(calls, "inner first"); i > j {
		t.Error("the socket's middleware came after the channel's")
	}
}
