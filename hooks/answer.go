package hooks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/wire"
)

// Answer is what a back end answers. docs/backends.md says which fields belong to which decision.
type Answer struct {
	// Allow is required: an answer without it is not valid.
	Allow *bool `json:"allow"`
	// Reply is sent to the client: why it is refused, or the response to its join or event. An event that has a reply
	// is not handled any further.
	Reply json.RawMessage `json:"reply,omitempty"`
	// Payload replaces the payload of the event, or the params of the join, for the channel that handles it.
	Payload json.RawMessage `json:"payload,omitempty"`
	// SocketID is the id of the socket, by which it can be disconnected.
	SocketID string `json:"socket_id,omitempty"`
	// Assigns are kept with the socket or the channel, and are included in later requests.
	Assigns map[string]json.RawMessage `json:"assigns,omitempty"`
	// ExpiresIn is the time in seconds after which the connection ends unless it is refreshed; 0 means never.
	ExpiresIn float64 `json:"expires_in,omitempty"`
	// Broadcast, Push and Track take effect once the join or event is accepted.
	Broadcast []Broadcast `json:"broadcast,omitempty"`
	Push      []Push      `json:"push,omitempty"`
	Track     *Track      `json:"track,omitempty"`
	// Write reports whether a client may broadcast and track in a private channel. The default is true.
	Write *bool `json:"write,omitempty"`
}

// Broadcast is an event for all clients on a topic.
type Broadcast struct {
	Topic   string          `json:"topic,omitempty"` // the default is the topic of the request
	Event   string          `json:"event"`
	Payload json.RawMessage `json:"payload,omitempty"` // an object; the default is {}
	Others  bool            `json:"others,omitempty"`  // leaves out the client itself; only on the topic of the request
}

// Push is an event for the client alone.
type Push struct {
	Event   string          `json:"event"`
	Payload json.RawMessage `json:"payload,omitempty"` // an object; the default is {}
}

// Track puts the client into the presence list of the topic.
type Track struct {
	Key  string          `json:"key"`
	Meta json.RawMessage `json:"meta,omitempty"` // an object; the default is {}
}

// Bounds of an Answer, besides webhook.MaxAnswer.
const (
	maxSocketID  = 255
	maxAssigns   = 8 << 10 // bytes, because they are kept with each socket
	maxKey       = 255     // of a presence, as in the relay
	maxMeta      = 4 << 10 // as in the relay
	maxEventName = 255     // its length is one byte of a binary frame
	maxMessages  = 1000
	shortestLife = 100 * time.Millisecond // a connection is refreshed no more often
	longestLife  = 365 * 24 * time.Hour
)

func (a *Answer) allows() bool { return a.Allow != nil && *a.Allow }

// parseAnswer decodes an answer to a request of a kind. A field that is unknown or belongs to another kind is an
// error, because it would have no effect: a mistyped answer must refuse clients rather than admit them. So is JSON that
// some clients could not read, because payloads are passed on unchanged.
func parseAnswer(kind string, text []byte) (a Answer, err error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return a, errors.New(`hooks: empty answer: it must be a JSON object with "allow"`)
	}
	text, err = wire.Validate(bytes.Clone(text))
	if err != nil {
		return a, fmt.Errorf("hooks: invalid answer: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return a, fmt.Errorf("hooks: invalid answer: %w", err)
	}
	if a.Allow == nil {
		return a, errors.New(`hooks: the answer has no "allow"`)
	}
	if field := a.misplaced(kind); field != "" {
		return a, fmt.Errorf("hooks: the answer has %q, which has no effect on %s", field, kind)
	}
	return a, a.check()
}

// misplaced returns a field of the answer that has no effect for a kind.
func (a *Answer) misplaced(kind string) string {
	channel := kind == Join || kind == Event
	for _, f := range []struct {
		name    string
		set, ok bool
	}{
		{"reply", a.Reply != nil, channel || kind == Connect},
		{"payload", a.Payload != nil, channel},
		{"socket_id", a.SocketID != "", kind == Connect},
		{"assigns", a.Assigns != nil, channel || kind == Connect},
		{"expires_in", a.ExpiresIn != 0, kind == Connect || kind == Refresh},
		{"broadcast", a.Broadcast != nil, channel},
		{"push", a.Push != nil, channel},
		{"track", a.Track != nil, channel},
		{"write", a.Write != nil, kind == Access},
	} {
		if f.set && !f.ok {
			return f.name
		}
	}
	return ""
}

func (a *Answer) check() error {
	if len(a.SocketID) > maxSocketID {
		return fmt.Errorf("hooks: the answer's socket_id has more than %d bytes", maxSocketID)
	}
	if a.ExpiresIn != 0 && (a.ExpiresIn < shortestLife.Seconds() || a.ExpiresIn > longestLife.Seconds()) {
		return fmt.Errorf("hooks: the answer's expires_in is %v: it must be 0 or from 0.1 to a year, in seconds", a.ExpiresIn)
	}
	size := 0
	for name, value := range a.Assigns {
		size += len(name) + len(value)
	}
	if size > maxAssigns {
		return fmt.Errorf("hooks: the answer's assigns have more than %d bytes", maxAssigns)
	}
	if a.Payload != nil && !wire.IsObject(a.Payload) {
		return errors.New("hooks: the answer's payload is not an object")
	}
	if len(a.Broadcast) > maxMessages || len(a.Push) > maxMessages {
		return fmt.Errorf("hooks: the answer has more than %d broadcasts or pushes", maxMessages)
	}
	for i := range a.Broadcast {
		if err := checkMessage("broadcast", a.Broadcast[i].Event, &a.Broadcast[i].Payload); err != nil {
			return err
		}
	}
	for i := range a.Push {
		if err := checkMessage("push", a.Push[i].Event, &a.Push[i].Payload); err != nil {
			return err
		}
	}
	return a.Track.check()
}

// checkMessage checks an event and its payload, and fills in the default payload.
func checkMessage(field, event string, payload *json.RawMessage) error {
	if event == "" || len(event) > maxEventName {
		return fmt.Errorf("hooks: the answer has a %s whose event is empty or has more than %d bytes", field, maxEventName)
	}
	if prefix := channels.ReservedEvent(event); prefix != "" {
		return fmt.Errorf("hooks: the answer has a %s of %q: events that begin with %s are the server's own", field, event, prefix)
	}
	if *payload == nil {
		*payload = json.RawMessage("{}")
	}
	if !wire.IsObject(*payload) {
		return fmt.Errorf("hooks: the answer has a %s whose payload is not an object", field)
	}
	return nil
}

func (t *Track) check() error {
	if t == nil {
		return nil
	}
	if t.Meta == nil {
		t.Meta = json.RawMessage("{}")
	}
	switch {
	case t.Key == "" || len(t.Key) > maxKey:
		return fmt.Errorf("hooks: the answer's track has a key that is empty or has more than %d bytes", maxKey)
	case len(t.Meta) > maxMeta || !wire.IsObject(t.Meta):
		return fmt.Errorf("hooks: the answer's track has a meta that is not an object of at most %d bytes", maxMeta)
	}
	return nil
}

// values returns assigns as Go values. Numbers are json.Number, as those of tokens are.
func values(assigns map[string]json.RawMessage) map[string]any {
	all := make(map[string]any, len(assigns))
	for name, text := range assigns {
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.UseNumber()
		var v any
		if d.Decode(&v) == nil {
			all[name] = v
		}
	}
	return all
}
