package main

import "github.com/mycelium-rt/mycelium/channels"

// addBroadcasts adds the events that broadcast.
func addBroadcasts(ch *channels.Channel) {
	onAll(ch, map[string]handler{
		"shout":           shout,
		"shout_reply":     then(shout, bare("ok")),
		"shout_from":      shoutFrom,
		"shout_to":        shoutTo,
		"disconnect_me":   disconnectMe,
		"disconnect_user": disconnectUser,
	})
}

func shoutFrom(c *channels.Context, p channels.Payload) channels.Reply {
	must(c.BroadcastFrom("shout", p))
	return none
}

// shoutTo broadcasts to any topic.
func shoutTo(c *channels.Context, p channels.Payload) channels.Reply {
	o := objectOf(p)
	must(c.Endpoint().Broadcast(o.text("topic"), o.text("event"), o.or("payload", "{}")))
	return none
}

func disconnectMe(c *channels.Context, _ channels.Payload) channels.Reply {
	id := c.Socket().ID()
	if id == "" {
		panic("the socket has no id")
	}
	must(c.Endpoint().Disconnect(id))
	return none
}

func disconnectUser(c *channels.Context, p channels.Payload) channels.Reply {
	must(c.Endpoint().Disconnect(userSocket(objectOf(p).name("id"))))
	return ok(nil)
}
