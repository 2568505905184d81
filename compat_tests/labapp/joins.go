package main

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// slowJoin is how long a join of joinslow:* takes.
const slowJoin = 300 * time.Millisecond

// youSent is the join reply {"you_sent": params}. Bytes cannot be put into it:
// that join fails.
func youSent(params channels.Payload) (any, error) {
	if params.Binary {
		return nil, errors.New("bytes cannot be put into JSON")
	}
	return struct {
		YouSent json.RawMessage `json:"you_sent"`
	}{params.Data}, nil
}

// newDeny refuses every join.
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

// newJoinCrash crashes in join; an exit there is a crash to the client.
func newJoinCrash() *channels.Channel {
	return channels.Handle("joincrash:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		panic("this join crashes")
	})
}

// newJoinBad returns from join what is neither a reply nor a refusal. An error
// that is not for the client is the nearest thing to it here.
func newJoinBad() *channels.Channel {
	return channels.Handle("joinbad:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, errors.New("not what a join returns")
	})
}

// newJoinSlow takes its time to join.
func newJoinSlow() *channels.Channel {
	ch := channels.Handle("joinslow:*", func(c *channels.Context, params channels.Payload) (any, error) {
		pause(c, slowJoin)
		return youSent(params)
	})
	on(ch, "echo", echo("ok"))
	return ch
}

// afterJoin is sent by a join to its own channel, for what has to come behind
// the reply.
type afterJoin struct{ params channels.Payload }

// newJoinNil joins without a response.
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
