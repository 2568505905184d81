package main

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// slowJoin is how long a join of joinslow:* takes.
const slowJoin = 300 * time.Millisecond

// youSent returns the join reply {"you_sent": params}. Binary params make the join fail.
func youSent(params channels.Payload) (any, error) {
	if params.Binary {
		return nil, errors.New("bytes cannot be put into JSON")
	}
	return struct {
		YouSent json.RawMessage `json:"you_sent"`
	}{params.Data}, nil
}

// newDeny returns a channel that refuses every join.
func newDeny() *channels.Channel {
	return channels.Handle("deny:*", func(c *channels.Context, params channels.Payload) (channels.NoReply, error) {
		switch c.Topic() {
		case "deny:empty":
			return channels.NoReply{}, &channels.ReplyError{}
		case "deny:echo":
			return channels.NoReply{}, &channels.ReplyError{Response: params}
		}
		return channels.NoReply{}, channels.Errorf("unauthorized")
	})
}

// newJoinCrash returns a channel whose join crashes. To clients an exit is a crash too.
func newJoinCrash() *channels.Channel {
	return channels.Handle("joincrash:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		panic("this join crashes")
	})
}

// newJoinBad returns a channel whose join returns neither a reply nor a refusal. The closest
// thing here is an error that is not for the client.
func newJoinBad() *channels.Channel {
	return channels.Handle("joinbad:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, errors.New("not what a join returns")
	})
}

// newJoinSlow returns a channel whose join is slow.
func newJoinSlow() *channels.Channel {
	ch := channels.Handle("joinslow:*", func(c *channels.Context, params channels.Payload) (any, error) {
		pause(c, slowJoin)
		return youSent(params)
	})
	on(ch, "echo", echo("ok"))
	return ch
}

// afterJoin is sent by a join to its own channel, for what has to come after the reply.
type afterJoin struct{ params channels.Payload }

// newJoinNil returns a channel whose join has no response.
func newJoinNil() *channels.Channel {
	ch := channels.Handle("joinnil:*", func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
		if c.Topic() == "joinnil:push" {
			must(c.Send(afterJoin{}))
		}
		return channels.NoReply{}, nil
	})
	channels.Info(ch, func(c *channels.Context, _ afterJoin) error { return c.Push("hello", nil) })
	on(ch, "echo", echo("ok"))
	return ch
}
