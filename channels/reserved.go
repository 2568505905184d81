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
// (phx_, chan_reply_, presence_, token_expiring), or "" if the name is not
// reserved. Programs that broadcast events named by others should refuse
// reserved names, as the relay and the HTTP API do.
func ReservedEvent(event string) (prefix string) {
	for _, prefix := range reservedEvents {
		if strings.HasPrefix(event, prefix) {
			return prefix
		}
	}
	return ""
}
