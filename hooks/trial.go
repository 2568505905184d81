package hooks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mycelium-rt/mycelium/internal/topics"
	"github.com/mycelium-rt/mycelium/internal/webhook"
)

// Sample is a client that does not exist, about which a back end is asked to try it out. Empty fields have values that
// suit the hook.
type Sample struct {
	Topic   string          // default: the first of the hook's topics, with "test" for its *
	Event   string          // default: the first of its events, likewise
	Payload json.RawMessage // of the join and the event; default {}
	Params  json.RawMessage // with which it connects
	Claims  json.RawMessage // of its token; default: it has none
}

// Trial is what has come of one request of [Decider.Try].
type Trial struct {
	Kind    string
	Request json.RawMessage
	Status  int    // of the answer; 0: there was none
	Answer  string // its body, or the beginning of it
	Took    time.Duration
	// Effect says what would become of a client.
	Effect string
	// Err is why the answer counts as none; nil: it is an answer.
	Err error
}

// ErrNoHook means that no hook with a name decides anything.
var ErrNoHook = errors.New("hooks: no such hook")

// shownAnswer bounds Trial.Answer, in bytes.
const shownAnswer = 4 << 10

// Try asks the back end of a hook for one decision of each kind that it makes. The requests have "test": true, carry what
// the answers before them have assigned, and are sent whether the back end is taken for away or not. Nothing else is done
// of what it answers, and nothing counted.
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

// complete fills in what a sample leaves out, and checks that the hook is for it.
func (t *target) complete(s *Sample) error {
	instead := func(value *string, patterns []string, what string) error {
		if *value == "" {
			*value = "test"
			if len(patterns) > 0 {
				*value = strings.Replace(patterns[0], "*", "test", 1)
			}
		}
		if len(patterns) > 0 && !topics.MatchAny(patterns, *value) {
			return fmt.Errorf("hooks: the hook is not for the %s %q: it is for %s", what, *value, strings.Join(patterns, ", "))
		}
		return nil
	}
	if len(s.Payload) == 0 {
		s.Payload = json.RawMessage("{}")
	}
	return errors.Join(instead(&s.Topic, t.Topics, "topic"), instead(&s.Event, t.Events, "event"))
}

// assignments are what answers have assigned to the client of a trial.
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

// of returns what requests of a kind carry, nil if that is nothing.
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

// effectOfNone says what becomes of a client about whom the back end gives no answer.
func (t *target) effectOfNone(kind string) string {
	switch {
	case t.WhileAway == Allow && kind == Refresh:
		return "the connection goes on until its time is over"
	case t.WhileAway == Allow:
		return "the client is allowed everything, because while_away is allow"
	case kind == Connect:
		return `the client is refused with 503 and {"reason":"unavailable"}`
	case kind == Refresh:
		return "the back end is asked again until the connection's time is over, then the connection is closed with code 1008"
	case kind == Access:
		return "the client may neither read nor write"
	}
	return `the client gets the error {"reason":"unavailable"}`
}

// effect says what becomes of a client about whom the back end has given an answer.
func (a *Answer) effect(kind string, s *Sample) string {
	if !a.allows() {
		return a.effectOfRefusal(kind)
	}
	var parts []string
	add := func(format string, values ...any) { parts = append(parts, fmt.Sprintf(format, values...)) }
	switch kind {
	case Connect:
		add("the client connects")
		if a.SocketID != "" {
			add("its socket has the id %q", a.SocketID)
		}
		if user := userOf(values(a.Assigns)); user != "" {
			add("without a token it is the user %q", user)
		}
		if a.ExpiresIn > 0 {
			add("for %v s", a.ExpiresIn)
		}
	case Refresh:
		add("the connection goes on")
		if a.ExpiresIn > 0 {
			add("for %v s", a.ExpiresIn)
		} else {
			add("for as long as before")
		}
	case Access:
		if a.Write != nil && !*a.Write {
			return "the client may read, not write"
		}
		return "the client may read and write"
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

func (a *Answer) effectOfRefusal(kind string) string {
	reply := string(a.Reply)
	if reply == "" || reply == "null" {
		reply = `{"reason":"unauthorized"}`
	}
	switch kind {
	case Connect:
		return "the client is refused with 403 and " + reply
	case Refresh:
		return "the connection is closed with code 1008"
	case Access:
		return "the client may neither read nor write"
	}
	return "the client gets the error " + reply
}

// addReply says what a client that is allowed is answered.
func (a *Answer) addReply(add func(string, ...any)) {
	if a.Reply != nil {
		add("it is answered %s", a.Reply)
	}
	if a.Payload != nil {
		add("the channel gets %s", a.Payload)
	}
}

// addMessages says what else an answer has the server do.
func (a *Answer) addMessages(add func(string, ...any)) {
	if len(a.Assigns) > 0 {
		add("later requests carry %d assigns", len(a.Assigns))
	}
	if a.Track != nil {
		add("it is present as %q, in instances of type relay", a.Track.Key)
	}
	for _, p := range a.Push {
		add("it is pushed %q", p.Event)
	}
	for _, b := range a.Broadcast {
		topic := "the topic"
		if b.Topic != "" {
			topic = fmt.Sprintf("%q", b.Topic)
		}
		add("%q is broadcast on %s", b.Event, topic)
	}
}
