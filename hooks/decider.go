package hooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/webhook"
)

// Options configure a [Decider].
type Options struct {
	// Hooks are the back ends. The first that matches decides.
	Hooks []Hook
	// Instance is the name of the instance in requests.
	Instance string
	// Claims returns the claims of the user of a socket, which requests include as JSON; nil for a user without claims.
	// If Claims is nil, no socket has claims.
	Claims func(s *channels.Socket) any
	// Hide names connect params that requests leave out, such as one with a token that has been verified.
	Hide []string
	// Revoked reports whether a user was revoked after a back end was asked about a connection of the user. The
	// connection is then closed, even if the back end has allowed it; see [Revoked]. If it is nil, no user is revoked.
	Revoked func(user string, asked time.Time) bool
	// Logger logs the failures of back ends. If it is nil, they are logged to standard error.
	Logger *zerolog.Logger
}

// Decider asks back ends for decisions. Its methods are safe for concurrent use.
type Decider struct {
	options Options
	log     *logging.Log
	targets []*target
}

// target is one back end.
type target struct {
	Hook
	caller *webhook.Caller
	stats  [5]kindStats // by index of decisions
}

// New returns a decider. If hooks are invalid, the error is a [fielderr.List], as from [Check].
func New(o Options) (*Decider, error) {
	if err := Check(o.Hooks); err != nil {
		return nil, err
	}
	d := &Decider{options: o, log: logging.NewLog(o.Logger)}
	for i, h := range o.Hooks {
		h.complete(i)
		caller, err := h.newCaller(d.log)
		if err != nil {
			d.Close()
			return nil, addBelow(fmt.Sprintf("/%d", i), err)
		}
		d.targets = append(d.targets, &target{Hook: h, caller: caller})
	}
	return d, nil
}

// Close closes unused connections to back ends. The decider still decides afterwards, for clients that are connected.
func (d *Decider) Close() {
	for _, t := range d.targets {
		t.caller.Close()
	}
}

// target returns the back end that decides about an event on a topic, or nil. topic is empty for decisions about a
// connection, and event is empty unless kind is Event.
func (d *Decider) target(kind, topic, event string) *target {
	for _, t := range d.targets {
		if t.decides(kind) && (topic == "" || t.matches(topic)) && (event == "" || t.takes(event)) {
			return t
		}
	}
	return nil
}

// Decides reports whether some hook makes decisions of a kind.
func (d *Decider) Decides(kind string) bool {
	return slices.ContainsFunc(d.targets, func(t *target) bool { return t.decides(kind) })
}

// wraps reports whether joins of a topic, or events on it, may be decided.
func (d *Decider) wraps(topic string) bool {
	return slices.ContainsFunc(d.targets, func(t *target) bool {
		return (t.decides(Join) || t.decides(Event)) && t.matches(topic)
	})
}

// The errors that clients receive if the back end has not decided.
var (
	errUnavailable = channels.Errorf("unavailable")
	errBusy        = channels.Errorf("too many requests wait for a decision")
)

// unavailable returns the error that a client receives if the back end has not decided because of err.
func unavailable(err error) *channels.ReplyError {
	if errors.Is(err, webhook.ErrBusy) {
		return errBusy
	}
	return errUnavailable
}

// ask asks for a decision. If the back end does not decide and WhileAway is Allow, the answer allows everything, except
// that it does not prolong a connection: the back end is asked about that again.
func (t *target) ask(ctx context.Context, d *Decider, kind, id string, body []byte) (a Answer, err error) {
	start := time.Now()
	err = t.caller.Call(ctx, webhook.Message{
		ID: id, Body: body, Repeat: kind != Event,
		Accept: func(text []byte) error {
			var err error
			a, err = parseAnswer(kind, text)
			return err
		},
	})
	s := &t.stats[slices.Index(decisions, kind)]
	if err == nil {
		s.durations.Observe(time.Since(start))
		if a.allows() {
			s.allowed.Add(1)
		} else {
			s.refused.Add(1)
		}
		return a, nil
	}
	if errors.Is(ctx.Err(), context.Canceled) { // the client has disconnected
		return Answer{}, err
	}
	s.unanswered.Add(1)
	d.log.Warn("no decision from the back end").Str("hook", t.Name).Str("kind", kind).Str("url", t.caller.Shown()).Err(err).Write()
	if t.WhileAway == Allow && kind != Refresh {
		yes := true
		return Answer{Allow: &yes}, nil
	}
	return Answer{}, err
}

// newCaller returns a caller of the back end of a completed hook.
func (h *Hook) newCaller(log *logging.Log) (*webhook.Caller, error) {
	o, err := h.caller()
	if err != nil {
		return nil, err
	}
	o.Log = log
	return webhook.New(o)
}

// header returns the names of the header fields that some hook wants.
func (d *Decider) header() (names []string) {
	for _, t := range d.targets {
		for _, name := range t.Headers {
			if !slices.ContainsFunc(names, func(other string) bool { return strings.EqualFold(other, name) }) {
				names = append(names, name)
			}
		}
	}
	return names
}
