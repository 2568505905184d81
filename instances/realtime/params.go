package realtime

import (
	"encoding/json"
	"strings"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/wire"
)

// object is a JSON object from a client. Each field is read by itself, because a join is
// accepted even if some fields have the wrong type; those are ignored
// (realtime_channel.ex, join).
type object map[string]json.RawMessage

// objectOf returns nil for anything but an object.
func objectOf(raw json.RawMessage) object {
	var o object
	if !wire.IsObject(raw) || json.Unmarshal(raw, &o) != nil {
		return nil
	}
	return o
}

// payloadOf returns the payload of a message, nil for anything but an object.
func payloadOf(p channels.Payload) object {
	if p.Binary {
		return nil
	}
	return objectOf(p.Data)
}

// sub returns a field that is an object, nil for any other.
func (o object) sub(key string) object { return objectOf(o[key]) }

// text returns a field that is a string.
func (o object) text(key string) (s string, ok bool) {
	raw := o[key]
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	return s, json.Unmarshal(raw, &s) == nil
}

// flag returns a field that is a boolean, or a string that spells one in any case
// (payloads/flexible_boolean.ex). Other values are false.
func (o object) flag(key string) bool {
	if s, ok := o.text(key); ok {
		return strings.EqualFold(s, "true")
	}
	return string(o[key]) == "true"
}

// params are the payload of a join (payloads/join.ex).
type params struct {
	token         string
	hasToken      bool
	newAPI        bool // there is a config; without one the topic names the changes of a table
	private       bool
	ack, self     bool
	replication   bool // wants to know when broadcasts from the database arrive
	replay        json.RawMessage
	presenceKey   string
	presence      bool
	presenceWrong string // why the presence key cannot be used
	changes       []object
}

func parseParams(p channels.Payload) params {
	join := payloadOf(p)
	_, newAPI := join["config"]
	config := join.sub("config")
	broadcast, presence := config.sub("broadcast"), config.sub("presence")
	j := params{
		newAPI: newAPI, private: config.flag("private"),
		ack: broadcast.flag("ack"), self: broadcast.flag("self"), replication: broadcast.flag("replication_ready"),
		replay: broadcast["replay"], presence: presence.flag("enabled"),
	}
	j.token, j.hasToken = tokenIn(join)
	j.presenceKey, j.presenceWrong = presenceKey(presence["key"])
	j.changes = changesIn(config["postgres_changes"])
	return j
}

// tokenIn returns the token of a join; ok is false if it has none of its own
// (assign_access_token).
func tokenIn(join object) (token string, ok bool) {
	access, hasAccess := join.text("access_token")
	user, hasUser := join.text("user_token")
	first := access
	if !hasAccess {
		first = user
	}
	switch {
	case strings.HasPrefix(first, apiKeyPrefix):
		return "", false
	case hasUser:
		return user, true
	}
	return access, hasAccess
}

// apiKeyPrefix begins those API keys of Supabase that are not tokens.
const apiKeyPrefix = "sb_"

// scope is the function for channels.Channel.Scope: private channels are separate from public
// ones.
func scope(p channels.Payload) string {
	if payloadOf(p).sub("config").flag("private") {
		return wire.RealtimePrivate
	}
	return ""
}
