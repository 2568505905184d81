package conformance

import (
	"encoding/hex"
	"encoding/json"
)

// message is what the rules of order need to know of a Phoenix message.
type message struct {
	joinRef, ref any
	topic        string
	event        string
	payload      any
}

// parseText parses a text message of either version: an array of five elements, or an
// object.
func parseText(text string) (message, bool) {
	v, err := parseJSON(expandRepeat(text))
	if err != nil {
		return message{}, false
	}
	switch m := v.(type) {
	case []any:
		if len(m) < 5 {
			return message{}, false
		}
		event, _ := m[3].(string)
		return message{joinRef: m[0], ref: m[1], topic: topicName(m[2]), event: event, payload: m[4]}, true
	case map[string]any:
		event, _ := m["event"].(string)
		return message{joinRef: m["join_ref"], ref: m["ref"], topic: topicName(m["topic"]), event: event, payload: m["payload"]}, true
	}
	return message{}, false
}

// topicName returns the topic, or its JSON if it is not a string.
func topicName(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	out, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(out)
}

// parseBinary parses the topic and event of a server's binary message.
func parseBinary(hexText string) (message, bool) {
	data, err := hex.DecodeString(hexText)
	if err != nil || len(data) == 0 {
		return message{}, false
	}
	// How many sizes follow the kind, and which field is the topic: a push has
	// join_ref, topic, event; a reply has join_ref, ref, topic, status; a broadcast has
	// topic, event.
	var fields, topicAt int
	switch data[0] {
	case 0:
		fields, topicAt = 3, 1
	case 1:
		fields, topicAt = 4, 2
	case 2:
		fields, topicAt = 2, 0
	default:
		return message{}, false
	}
	if len(data) < 1+fields {
		return message{}, false
	}
	rest := data[1+fields:]
	values := make([]string, fields)
	for i, size := range data[1 : 1+fields] {
		if int(size) > len(rest) {
			return message{}, false
		}
		values[i], rest = string(rest[:size]), rest[size:]
	}
	m := message{topic: values[topicAt], event: values[topicAt+1]}
	if data[0] == 1 {
		m.event = "phx_reply"
	}
	return m, true
}

// isLeaveDiff reports whether the message is a presence_diff without joins and with
// leaves (rule 2).
func (m message) isLeaveDiff() bool {
	if m.event != "presence_diff" {
		return false
	}
	p, ok := m.payload.(map[string]any)
	if !ok {
		return false
	}
	joins, okJoins := p["joins"].(map[string]any)
	leaves, okLeaves := p["leaves"].(map[string]any)
	return len(p) == 2 && okJoins && okLeaves && len(joins) == 0 && len(leaves) > 0 && len(m.leavingRefs()) > 0
}

// leavingRefs returns the phx_ref of each meta in leaves, or nil if a meta has none.
func (m message) leavingRefs() []string {
	p, _ := m.payload.(map[string]any)
	leaves, _ := p["leaves"].(map[string]any)
	var refs []string
	for _, presence := range leaves {
		one, _ := presence.(map[string]any)
		metas, _ := one["metas"].([]any)
		for _, meta := range metas {
			fields, _ := meta.(map[string]any)
			ref, ok := fields["phx_ref"].(string)
			if !ok {
				return nil
			}
			refs = append(refs, ref)
		}
	}
	return refs
}

// endsChannel reports whether the message tells a client that its channel has ended.
func (m message) endsChannel() bool { return m.event == "phx_close" || m.event == "phx_error" }

// isOvertakenAnswer reports whether m is what rule 5 allows as the answer to
// sent: a reply with its ref that is ok and empty, or "unmatched topic".
func (m message) isOvertakenAnswer(sent message) bool {
	if m.event != "phx_reply" || m.topic != sent.topic || shortJSON(m.ref) != shortJSON(sent.ref) {
		return false
	}
	if m.joinRef != nil && shortJSON(m.joinRef) != shortJSON(sent.joinRef) {
		return false
	}
	p, ok := m.payload.(map[string]any)
	if !ok || len(p) != 2 {
		return false
	}
	response, ok := p["response"].(map[string]any)
	if !ok {
		return false
	}
	if p["status"] == "ok" {
		return len(response) == 0
	}
	return p["status"] == "error" && len(response) == 1 && response["reason"] == "unmatched topic"
}
