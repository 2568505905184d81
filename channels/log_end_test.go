package channels_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

// TestEndsAreNoErrors: a callback that returns the end of its channel, because its
// client has left, has not failed.
func TestEndsAreNoErrors(t *testing.T) {
	ends := map[string]func(c *channels.Context) error{
		"Err":      func(c *channels.Context) error { <-c.Done(); return c.Err() },
		"Cause":    func(c *channels.Context) error { <-c.Done(); return fmt.Errorf("query: %w", context.Cause(c)) },
		"ErrEnded": func(c *channels.Context) error { <-c.Done(); return channels.ErrEnded },
		"derived": func(c *channels.Context) error {
			ctx, cancel := context.WithTimeout(c, time.Hour)
			defer cancel()
			<-ctx.Done()
			return ctx.Err()
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			log := new(logged)
			logger := zerolog.New(log)
			e := channelstest.Start(t, channels.Options{Logger: &logger})
			joins := channels.Handle("join:*", func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
				return channels.NoReply{}, end(c)
			})
			events := channels.Handle("event:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
				return channels.NoReply{}, nil
			})
			channels.On(events, "wait", func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
				return channels.NoReply{}, end(c)
			})
			e.Socket("/socket", channels.SocketOptions{}, joins, events)
			c := channelstest.Connect(t, e, "/socket")
			c.StartJoin("join:1", nil)
			c.Join("event:1", nil).Push("wait", nil)
			c.Join("event:2", nil) // what was sent before it is under way
			c.Close()
			log.find(t, "join failed", "topic=join:1")
			log.find(t, "handler failed", "topic=event:1", "event=wait")
			if text := log.String(); strings.Contains(text, `"level":"error"`) || strings.Contains(text, `"level":"warn"`) {
				t.Errorf("an end is an error:\n%s", text)
			}
		})
	}
}

// TestOwnErrorsStayErrors: a context that is canceled before the channel has ended is an
// error like any other.
func TestOwnErrorsStayErrors(t *testing.T) {
	log := new(logged)
	logger := zerolog.New(log)
	e := channelstest.Start(t, channels.Options{Logger: &logger})
	ch := channels.Handle("room:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	})
	channels.On(ch, "query", func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
		ctx, cancel := context.WithCancel(c)
		cancel()
		return channels.NoReply{}, ctx.Err()
	})
	e.Socket("/socket", channels.SocketOptions{}, ch)
	channelstest.Connect(t, e, "/socket").Join("room:1", nil).Push("query", nil).AssertReply("error", map[string]any{"reason": "internal error"})
	if text := log.String(); !strings.Contains(text, `"level":"error","topic":"room:1","error":"context canceled"`) {
		t.Errorf("not an error:\n%s", text)
	}
}
