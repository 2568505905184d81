package main

import (
	"errors"

	"github.com/mycelium-rt/mycelium/channels"
)

var errBoom = errors.New("boom")

// stopNow is the message with which a channel stops itself later.
type stopNow struct{}

// addStops adds the events that end the channel. Phoenix distinguishes three normal reasons
// in the terminate callback; clients see phx_close for each. If the process of a channel
// ends in another way, such as an exit, clients see phx_error, which is a panic here.
func addStops(ch *channels.Channel) {
	onAll(ch, map[string]handler{
		"stop":                stop,
		"stop_shutdown":       stop,
		"stop_shutdown_tuple": stop,
		"stop_reply":          then(stop, echo("ok")),
		"stop_reply_atom":     then(stop, bare("ok")),
		"stop_error":          stopBroken,
		"stop_error_reply":    then(stopBroken, echo("error")),
		"stop_later":          stopLater,

		"crash":         crash,
		"exit_normal":   crash,
		"exit_shutdown": crash,
		"kill_self":     crash,
		"bad_return":    crash,
	})
	channels.Info(ch, func(c *channels.Context, _ stopNow) error {
		c.Stop(nil)
		return nil
	})
}

func stop(c *channels.Context, _ channels.Payload) channels.Reply {
	c.Stop(nil)
	return none
}

func stopBroken(c *channels.Context, _ channels.Payload) channels.Reply {
	c.Stop(errBoom)
	return none
}

func stopLater(c *channels.Context, _ channels.Payload) channels.Reply {
	c.SendAfter(soon, stopNow{})
	return none
}
