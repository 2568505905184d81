package main

import (
	"encoding/json"

	"github.com/mycelium-rt/mycelium/channels"
)

// newIntercept returns a channel that changes an event for each client.
func newIntercept() *channels.Channel {
	ch := channels.Handle("intercept:*", func(c *channels.Context, params channels.Payload) (channels.NoReply, error) {
		c.Assign("name", objectOf(params).or("name", "null"))
		return channels.NoReply{}, nil
	})
	for _, event := range []string{"secret", "open"} {
		on(ch, event, func(c *channels.Context, p channels.Payload) channels.Reply {
			must(c.Broadcast(event, p))
			return none
		})
	}
	channels.Intercept(ch, "secret", pushSecret)
	return ch
}

// pushSecret adds the receiver's name, and skips the client that it is hidden from.
func pushSecret(c *channels.Context, p channels.Payload) error {
	o, name := objectOf(p), c.Get("name").(json.RawMessage)
	if o.has("hide_from") && string(o["hide_from"]) == string(name) {
		return nil
	}
	o["for"] = name
	must(c.Push("secret", o.encode()))
	return nil
}
