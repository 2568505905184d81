package channels

import "strings"

// reservedEvents begin the names of the events that clients take for the
// server's own. phx_close would end the channel of everybody on the topic, and
// chan_reply_3 would answer what a client has sent as its 3
// (assets/js/phoenix/channel.js, onMessage and replyEventName); a made-up
// presence_state empties everybody's list (assets/js/phoenix/presence.js); and
// token_expiring has clients send their tokens anew (auth.ExpiringEvent).
var reservedEvents = []string{"phx_", "chan_reply_", "presence_", "token_expiring"}

// ReservedEvent returns the prefix that reserves an event's name for the server
// (phx_, chan_reply_, presence_, token_expiring), or "" if anybody may use it.
// Code that sends on what others give it, as the relay and the HTTP API do,
// refuses reserved names; the program itself may broadcast them.
func ReservedEvent(event string) (prefix string) {
	for _, prefix := range reservedEvents {
		if strings.HasPrefix(event, prefix) {
			return prefix
		}
	}
	return ""
}
