package realtime

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/mycelium-rt/mycelium/wire"
)

// batched is one message of a batch.
type batched struct {
	topic, event string
	payload      json.RawMessage
	private      bool
	id           string // "" means none
}

// serveBatch sends the messages of a batch. It silently leaves out private ones that the token
// does not permit (tenants/batch_broadcast.ex).
func (l *logic) serveBatch(w http.ResponseWriter, r *http.Request, g grant) {
	body, ok := readBody(w, r)
	if !ok {
		return
	}
	compact, err := wire.Validate(body)
	if err != nil {
		answer(w, http.StatusBadRequest, message("the body is not valid JSON"))
		return
	}
	messages, wrong := l.readBatch(objectOf(compact)["messages"])
	if wrong != nil {
		answer(w, http.StatusUnprocessableEntity, fieldErrors{Errors: map[string]any{"messages": wrong}})
		return
	}
	if !l.batchWithinRate(w, len(messages)) {
		return
	}
	rights := make(map[string]bool) // by private topic
	var errs error
	for _, m := range messages {
		if m.private {
			may, known := rights[m.topic]
			if !known {
				may = l.rights(r.Context(), m.topic, g).Write
				rights[m.topic] = may
			}
			if !may {
				continue
			}
		}
		errs = errors.Join(errs, l.send(r, topicOf(m.topic, m.private), wire.Payload{Data: m.text()}))
	}
	l.accept(w, errs)
}

// batchWithinRate refuses a batch that would exceed the rate.
func (l *logic) batchWithinRate(w http.ResponseWriter, messages int) bool {
	limit := l.config.Load().Limits.Events
	if limit == 0 || messages+int(l.rates.events.mean.Load()) <= limit {
		return true
	}
	answer(w, http.StatusTooManyRequests, message("Too many messages to broadcast, please reduce the batch size"))
	return false
}

// readBatch returns the messages, or what is wrong with them: for each message, an object with
// the errors of its fields.
func (l *logic) readBatch(raw json.RawMessage) (messages []batched, wrong any) {
	if raw == nil || string(raw) == "null" {
		return nil, []string{"can't be blank"}
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		return nil, []string{"is invalid"}
	}
	faults, bad := make([]map[string][]string, len(items)), false
	for i, item := range items {
		m, fields := l.readMessage(objectOf(item))
		messages = append(messages, m)
		faults[i] = fields
		bad = bad || len(fields) > 0
	}
	if bad {
		return nil, faults
	}
	return messages, nil
}

// readMessage reads a message of a batch, and returns what is wrong with its fields.
func (l *logic) readMessage(o object) (m batched, wrong map[string][]string) {
	wrong = make(map[string][]string)
	text := func(key string, needed bool) string {
		s, ok := o.text(key)
		switch raw := string(o[key]); {
		case !ok && raw != "" && raw != "null":
			wrong[key] = []string{"is invalid"}
		case needed && strings.TrimSpace(s) == "":
			wrong[key] = []string{"can't be blank"}
		}
		return s
	}
	m.topic, m.event, m.id = text("topic", true), text("event", true), text("id", false)
	m.private, m.payload = o.flag("private"), o["payload"]
	switch {
	case len(m.payload) == 0 || string(m.payload) == "null":
		wrong["payload"] = []string{"can't be blank"}
	case !wire.IsObject(m.payload):
		wrong["payload"] = []string{"is invalid"}
	case len(m.payload) > int(l.config.Load().Limits.Payload):
		wrong["payload"] = []string{payloadTooLarge}
	}
	return m, wrong
}

// text returns the payload that clients get.
func (m *batched) text() []byte {
	out := wire.AppendString([]byte(`{"event":`), m.event)
	if m.id != "" {
		out = append(out, `,"meta":{"id":`...)
		out = append(wire.AppendString(out, m.id), '}')
	}
	out = append(out, `,"payload":`...)
	out = append(out, m.payload...)
	return append(out, `,"type":"broadcast"}`...)
}
