package hooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mycelium-rt/mycelium/internal/topics"
	"github.com/mycelium-rt/mycelium/internal/webhook"
)

// Sample is the made-up client of a [Decider.Try]. Empty fields get values that the hook applies to.
type Sample struct {
	Topic   string          // default: the first of the hook's topics, with "test" for its *
	Event   string          // default: the first of its events, likewise
	Payload json.RawMessage // of the join and the event; default {}
	Params  json.RawMessage // of the connect
	Claims  json.RawMessage // of its token; default: no token
}

// Trial is the outcome of one request of [Decider.Try].
type Trial struct {
	Kind    string
	Request json.RawMessage
	Status  int    // of the answer; 0 if there was none
	Answer  string // its body, or the beginning of that
	Took    time.Duration
	// Effect says what would happen to the client.
	Effect string
	// Err says why the answer is not valid. It is nil for a valid answer.
	Err error
}

// ErrNoHook means that there is no hook of this name, or it decides nothing.
var ErrNoHook = errors.New("hooks: no such hook")

// shownAnswer bounds Trial.Answer, in bytes.
const shownAnswer = 4 << 10

// Try asks the back end of a hook for one decision of each kind that it makes. The requests have "test": true, include
// what earlier answers have assigned, and are sent even if the back end is considered away. Answers have no other effect,
// and nothing is counted.
func (d *Decider) Try(ctx context.Context, name string, s Sample) ([]Trial, error) {
	for _, t := range d.targets {
		if t.Name != name || !t.decidesAny() {
			continue
		}
		if err := t.complete(&s); err != nil {
			return nil, err
		}
		caller, err := t.newCaller(nil)
		if err != nil {
			return nil, err
		}
		defer caller.Close()
		var trials []Trial
		var known assignments
		for _, kind := range decisions {
			if t.decides(kind) {
				trials = append(trials, d.try(ctx, t, caller, kind, &s, &known))
			}
		}
		return trials, nil
	}
	return nil, ErrNoHook
}

// complete fills in the empty fields of a sample, and checks that the hook applies to it.
func (t *target) complete(s *Sample) error {
	instead := func(value *string, patterns []string, what string) error {
		if *value == "" {
			*value = "test"
			if len(patterns) > 0 {
				*value = strings.Replace(patterns[0], "*", "test", 1)
			}
		}
		if len(patterns) > 0 && !topics.MatchAny(patterns, *value) {
			return fmt.Errorf("hooks: the hook does not apply to the %s %q, only to %s", what, *value, strings.Join(patterns, ", "))
		}
		return nil
	}
	if len(s.Payload) == 0 {
		s.Payload = json.RawMessage("{}")
	}
	return errors.Join(instead(&s.Topic, t.Topics, "topic"), instead(&s.Event, t.Events, "event"))
}

// assignments is what answers have assigned to the client of a trial.
type assignments struct {
	socketID        string
	socket, channel map[string]json.RawMessage
}

// add adds what an answer assigns.
func (known *assignments) add(kind string, a *Answer) {
	switch {
	case !a.allows():
	case kind == Connect:
		known.socketID, known.socket = a.SocketID, a.Assigns
	case kind == Join:
		known.channel = a.Assigns
	}
}

// of returns the assigns for a request of a kind.
func (known *assignments) of(kind string) map[string]json.RawMessage {
	if kind != Event || len(known.channel) == 0 {
		return known.socket
	}
	all := maps.Clone(known.channel)
	for name, value := range known.socket {
		if _, own := all[name]; !own {
			all[name] = value
		}
	}
	return all
}

// try asks for one decision.
func (d *Decider) try(ctx context.Context, t *target, caller *webhook.Caller, kind string, s *Sample, known *assignments) Trial {
	q := d.sampleRequest(kind, s, known)
	trial := Trial{Kind: kind, Request: q.text}
	var a Answer
	began := time.Now()
	trial.Err = caller.Call(ctx, webhook.Message{ID: q.id, Body: q.text, Accept: func(text []byte) (err error) {
		trial.Status, trial.Answer = 200, shown(text)
		a, err = parseAnswer(kind, text)
		return err
	}})
	trial.Took = time.Since(began)
	var status *webhook.StatusError
	if errors.As(trial.Err, &status) {
		trial.Status, trial.Answer = status.Status, shown(status.Body)
	}
	if trial.Err != nil {
		trial.Effect = t.effectOfNone(kind)
	} else {
		trial.Effect = a.effect(kind, s)
		known.add(kind, &a)
	}
	return trial
}

// sampleRequest returns a request about the client of a sample.
func (d *Decider) sampleRequest(kind string, s *Sample, known *assignments) question {
	q := d.begin(kind)
	q.raw("test", []byte("true"))
	switch kind {
	case Access:
		q.str("topic", s.Topic)
	case Event:
		q.str("topic", s.Topic)
		q.str("event", s.Event)
		q.raw("payload", s.Payload)
	case Join:
		q.str("topic", s.Topic)
		q.raw("payload", s.Payload)
	}
	q.raw("claims", s.Claims)
	if kind != Access {
		q.str("socket_id", known.socketID)
		if assigns := known.of(kind); len(assigns) > 0 {
			q.json("assigns", assigns)
		}
		q.raw("params", s.Params)
		q.str("address", "127.0.0.1")
		q.str("transport", "websocket")
	}
	q.end()
	return q
}

// shown returns the beginning of a body as text.
func shown(body []byte) string {
	text := string(body[:min(len(body), shownAnswer)])
	if len(body) > shownAnswer {
		text += "…"
	}
	if !utf8.ValidString(text) {
		return strings.ToValidUTF8(text, "\uFFFD")
	}
	return text
}

// effectOfNone says what happens to a client when the back end gives no valid answer.
func (t *target) effectOfNone(kind string) string {
	switch {
	case kind == Refresh:
		return "the back end is asked again until the connection expires; then the connection is closed with code 1008"
	case t.WhileAway == Allow:
		return "the client is allowed, because while_away is allow"
	case kind == Connect:
		return `the client is refused with 503 and {"reason":"unavailable"}`
	case kind == Access:
		return "the client can neither read nor write"
	}
	return `the client receives the error {"reason":"unavailable"}`
}

// effect says what a valid answer does to a client.
func (a *Answer) effect(kind string, s *Sample) string {
	if !a.allows() {
		return a.effectOfRefusal(kind)
	}
	var parts []string
	add := func(format string, values ...any) { parts = append(parts, fmt.Sprintf(format, values...)) }
	switch kind {
	case Connect:
		a.addConnect(add)
	case Refresh:
		add("the connection stays open")
		if a.ExpiresIn > 0 {
			add("it expires after %v s", a.ExpiresIn)
		} else {
			add("it expires after the same time again")
		}
	case Access:
		if a.Write != nil && !*a.Write {
			return "the client can read but not write"
		}
		return "the client can read and write"
	case Join:
		add("the client joins %q", s.Topic)
		a.addReply(add)
	case Event:
		if a.Reply == nil {
			add("the channel handles %q: a relay sends it to all on %q", s.Event, s.Topic)
		}
		a.addReply(add)
	}
	a.addMessages(add)
	return strings.Join(parts, "; ")
}

// addConnect adds what a client that may connect gets.
func (a *Answer) addConnect(add func(string, ...any)) {
	add("the client connects")
	if a.SocketID != "" {
		add("its socket has the id %q", a.SocketID)
	}
	if user := userOf(values(a.Assigns)); user != "" {
		add("unless it has a token, its user is %q", user)
	}
	if a.ExpiresIn > 0 {
		add("it expires after %v s", a.ExpiresIn)
	}
}

func (a *Answer) effectOfRefusal(kind string) string {
	switch {
	case kind == Refresh:
		return "the connection is closed with code 1008"
	case kind == Access:
		return "the client can neither read nor write"
	case kind == Connect && hasReply(a.Reply):
		return "the client is refused with 403 and " + string(a.Reply)
	case kind == Connect:
		return "the client is refused with 403 and an empty body"
	case hasReply(a.Reply):
		return "the client receives the error " + string(a.Reply)
	}
	return `the client receives the error {"reason":"unauthorized"}`
}

// addReply adds what a client that is allowed receives as reply, and its channel as payload.
func (a *Answer) addReply(add func(string, ...any)) {
	if a.Reply != nil {
		add("the reply is %s", a.Reply)
	}
	if a.Payload != nil {
		add("the channel receives the payload %s", a.Payload)
	}
}

// addMessages adds the other effects of an answer.
func (a *Answer) addMessages(add func(string, ...any)) {
	if len(a.Assigns) > 0 {
		add("later requests include assigns: %s", strings.Join(slices.Sorted(maps.Keys(a.Assigns)), ", "))
	}
	if a.Track != nil {
		add("it is tracked as %q (in instances of type relay)", a.Track.Key)
	}
	for _, p := range a.Push {
		add("%q is pushed to the client", p.Event)
	}
	for _, b := range a.Broadcast {
		topic := "the topic"
		if b.Topic != "" {
			topic = fmt.Sprintf("%q", b.Topic)
		}
		add("%q is broadcast on %s", b.Event, topic)
	}
}
