package realtime

import (
	"errors"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/wire"
)

var none = channels.Reply{}

// broadcast relays what a client sends: text as it came, binary broadcasts of kind 3 as
// [wire.Realtime] decoded them. Only a client that wants an ack gets a reply
// (realtime_channel/broadcast_handler.ex).
func (l *logic) broadcast(c *channels.Context, p channels.Payload) (channels.Reply, error) {
	s := sessionKey.Get(c)
	limits := &l.config.Load().Limits
	if l.above(&l.rates.events, limits.Events) {
		return none, l.shutdown(c, "Too many messages per second")
	}
	if s.private && !s.rights.Write {
		return none, nil
	}
	if len(p.Data) > int(limits.Payload) {
		return s.acked(channels.Reply{Status: "error", Response: "payload_size_exceeded"}), nil
	}
	if !p.Binary && !wire.IsObject(p.Data) {
		return none, nil
	}
	relay := c.RelayFrom
	if s.self {
		relay = c.Relay
	}
	switch err := relay("broadcast", p); {
	case errors.Is(err, channels.ErrOverloaded):
		return s.acked(channels.Reply{Status: "error", Response: map[string]string{"reason": "overloaded"}}), nil
	case err != nil:
		return none, err
	}
	return s.acked(channels.Reply{Status: "ok"}), nil
}

// acked returns the reply if the client wants one.
func (s *session) acked(r channels.Reply) channels.Reply {
	if !s.ack {
		return none
	}
	return r
}
