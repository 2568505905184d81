package main

import (
	"errors"

	"github.com/mycelium-rt/mycelium/channels"
)

// handler handles an event. It panics on a payload that it does not accept, which crashes
// the channel as a message without a matching clause does in Elixir.
type handler func(c *channels.Context, p channels.Payload) channels.Reply

func on(ch *channels.Channel, event string, h handler) {
	channels.On(ch, event, func(c *channels.Context, p channels.Payload) (channels.Reply, error) {
		return h(c, p), nil
	})
}

// onAll registers a table of events.
func onAll(ch *channels.Channel, events map[string]handler) {
	for event, h := range events {
		on(ch, event, h)
	}
}

// none means that there is no reply.
var none = channels.Reply{}

func ok(response any) channels.Reply     { return channels.Reply{Status: "ok", Response: response} }
func failed(response any) channels.Reply { return channels.Reply{Status: "error", Response: response} }

// must crashes the channel if sending has failed, as push and broadcast! do in Elixir. It
// ignores that the client is gone.
func must(err error) {
	if err != nil && !errors.Is(err, channels.ErrEnded) {
		panic(err)
	}
}

// Handlers for several events or channels.

// echo replies with a status and the payload as it came.
func echo(status string) handler {
	return func(_ *channels.Context, p channels.Payload) channels.Reply {
		return channels.Reply{Status: status, Response: p}
	}
}

// bare replies with a status alone.
func bare(status string) handler {
	return func(*channels.Context, channels.Payload) channels.Reply { return channels.Reply{Status: status} }
}

// then calls first, and returns the reply of answer.
func then(first, answer handler) handler {
	return func(c *channels.Context, p channels.Payload) channels.Reply {
		first(c, p)
		return answer(c, p)
	}
}

func silent(*channels.Context, channels.Payload) channels.Reply { return none }

func crash(*channels.Context, channels.Payload) channels.Reply { panic("crash was asked for") }

func shout(c *channels.Context, p channels.Payload) channels.Reply {
	must(c.Broadcast("shout", p))
	return none
}
