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
	// Hooks are the back ends. Of those that match, the first decides.
	Hooks []Hook
	// Instance is what requests name as the instance.
	Instance string
	// Claims returns what is known about the user of a socket, which requests carry as JSON; nil if nothing is
	// known. A nil Claims means that nothing ever is.
	Claims func(s *channels.Socket) any
	// Hide are names of connect params that requests do not carry, such as one with a token that has been verified.
	Hide []string
	// Revoked reports whether a user was revoked after a time, at which a back end was asked about a connection of that
	// user. The connection is then closed, even if the back end has allowed it; see [Revoked]. nil: nobody ever is.
	Revoked func(user string, asked time.Time) bool
	// Logger gets the failures of back ends; nil: standard error.
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

// New returns a decider. If the hooks are wrong, the error is a [fielderr.List] as that of [Check].
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

// Close closes the connections to back ends that are not in use. The decider still decides afterwards, for clients that
// are connected.
func (d *Decider) Close() {
	for _, t := range d.targets {
		t.caller.Close()
	}
}

// target returns what decides about an event on a topic, nil if nothing does. The topic is "" for what concerns a
// connection, the event unless the kind is Event.
func (d *Decider) target(kind, topic, event string) *target {
	for _, t := range d.targets {
		if t.decides(kind) && (topic == "" || t.matches(topic)) && (event == "" || t.takes(event)) {
			return t
		}
	}
	return nil
}

// Decides reports whether some hook decides decisions of a kind.
func (d *Decider) Decides(kind string) bool {
	return slices.ContainsFunc(d.targets, func(t *target) bool { return t.decides(kind) })
}

// wraps reports whether joins of a topic, or events on it, may be decided.
func (d *Decider) wraps(topic string) bool {
	return slices.ContainsFunc(d.targets, func(t *target) bool {
		return (t.decides(Join) || t.decides(Event)) && t.matches(topic)
	})
}

// What clients are told if no back end has decided.
var (
	errUnavailable = channels.Errorf("unavailable")
	errBusy        = channels.Errorf("too many requests wait for a decision")
)

// unavailable returns what a client is told if no back end has decided because of err.
func unavailable(err error) *channels.ReplyError {
	if errors.Is(err, webhook.ErrBusy) {
		return errBusy
	}
	return errUnavailable
}

// ask asks for a decision. While the back end gives none, the answer is to allow everything if the hook says so.
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
	if errors.Is(ctx.Err(), context.Canceled) { // the client has gone
		return Answer{}, err
	}
	s.unanswered.Add(1)
	d.log.Warn("back end has not decided").Str("hook", t.Name).Str("kind", kind).Str("url", t.caller.Shown()).Err(err).Write()
	if t.WhileAway == Allow {
		yes := true
		return Answer{Allow: &yes}, nil
	}
	return Answer{}, err
}

// newCaller returns what sends requests to the back end of a completed hook.
func (h *Hook) newCaller(log *logging.Log) (*webhook.Caller, error) {
	o, err := h.caller()
	if err != nil {
		return nil, err
	}
	o.Log = log
	return webhook.New(o)
}

// header returns the names of the header fields that requests carry, of all hooks.
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
