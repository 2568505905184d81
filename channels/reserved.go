package channels

import "strings"

// reservedEvents are prefixes of events that clients treat as the server's own.
// phx_close would end the channel of everybody on the topic, and chan_reply_3
// would answer a client's message with ref 3 (assets/js/phoenix/channel.js,
// onMessage and replyEventName); a forged presence_state would replace
// everybody's list (assets/js/phoenix/presence.js); and token_expiring makes
// clients send new tokens (auth.ExpiringEvent). A forged history_mark would have
// clients miss messages.
var reservedEvents = []string{"phx_", "chan_reply_", "presence_", "token_expiring", eventHistoryMark, eventHistoryState}

// ReservedEvent returns the prefix that reserves an event's name for the server
// (phx_, chan_reply_, presence_, token_expiring, history_mark, history_state), or "" if the name is not
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
