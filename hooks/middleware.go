package hooks

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	"github.com/mycelium-rt/mycelium/channels"
)

// joinEvent is the event of joins.
const joinEvent = "phx_join"

// accessTokenEvent is the event with a new token (auth.AccessTokenEvent), which back ends must not see.
const accessTokenEvent = "access_token"

// assigned holds what answers have assigned to a channel.
var assigned = channels.NewKey[map[string]json.RawMessage]("hooks")

// middleware asks about joins and events.
func (w *protection) middleware(next channels.Handler) channels.Handler {
	return func(c *channels.Context, p channels.Payload) (channels.Reply, error) {
		kind, event := Event, c.Event()
		if event == joinEvent {
			kind, event = Join, ""
		}
		t := w.target(kind, c.Topic(), event)
		if t == nil || strings.EqualFold(event, accessTokenEvent) {
			return next(c, p)
		}
		return w.decide(t, kind, c, p, next)
	}
}

// decide asks a back end about a join or an event, and does what it says.
func (w *protection) decide(t *target, kind string, c *channels.Context, p channels.Payload, next channels.Handler) (channels.Reply, error) {
	q := w.begin(kind)
	q.str("topic", c.Topic())
	// An event is decided even if its client has disconnected: the back end may have stored it, and others wait for it.
	ctx := context.Background()
	if kind == Join {
		ctx = c
	} else {
		q.str("event", c.Event())
	}
	q.payload(p)
	own := assigned.Get(c)
	q.about(w.Decider, t, c.Socket(), sessionOf(c.Socket()), own)
	a, err := t.ask(ctx, w.Decider, kind, q.id, q.text)
	switch {
	case err != nil:
		return channels.Reply{}, unavailable(err)
	case !a.allows():
		return channels.Reply{}, refusal(a.Reply)
	}
	w.assign(c, own, a.Assigns)
	if err := w.track(c, t, a.Track); err != nil {
		return channels.Reply{}, err
	}
	return w.proceed(c, &a, kind, p, next)
}

// hasReply reports whether an answer that refuses a client says why.
func hasReply(reply json.RawMessage) bool { return len(reply) > 0 && string(reply) != "null" }

// refusal returns the error with which a back end refuses a join or an event.
func refusal(reply json.RawMessage) error {
	if !hasReply(reply) {
		return channels.Errorf("unauthorized")
	}
	return &channels.ReplyError{Response: reply}
}

// assign adds assigns to those of a channel.
func (w *protection) assign(c *channels.Context, own, more map[string]json.RawMessage) {
	if len(more) == 0 {
		return
	}
	for name, value := range values(more) {
		c.Assign(name, value)
	}
	all := maps.Clone(own)
	if all == nil {
		all = more
	} else {
		maps.Copy(all, more)
	}
	size := 0
	for name, value := range all {
		size += len(name) + len(value)
	}
	if size > maxAssigns {
		w.log.Warn("assigns of a channel are too large and were not kept").Str("topic", c.Topic()).Int("bytes", size).Write()
		return
	}
	assigned.Set(c, all)
}

// track puts the client into the presence list.
func (w *protection) track(c *channels.Context, t *target, track *Track) error {
	if track == nil {
		return nil
	}
	if w.presence == nil {
		w.log.Warn("track ignored: this type of instance tracks presence itself").Str("hook", t.Name).Str("topic", c.Topic()).Write()
		return nil
	}
	return w.presence.Track(c, track.Key, track.Meta)
}

// proceed lets the channel handle what a back end has allowed, unless the answer has the reply to an event, and sends
// the pushes and broadcasts of the answer.
func (w *protection) proceed(c *channels.Context, a *Answer, kind string, p channels.Payload, next channels.Handler) (reply channels.Reply, err error) {
	if kind == Join || a.Reply == nil {
		if a.Payload != nil {
			p = channels.Payload{Data: a.Payload}
		}
		if reply, err = next(c, p); err != nil || kind == Join && reply.Status != "ok" {
			return reply, err
		}
	}
	if a.Reply != nil {
		reply = channels.Reply{Status: "ok", Response: a.Reply}
	}
	for i := range a.Push {
		if err := c.Push(a.Push[i].Event, a.Push[i].Payload); err != nil && err != channels.ErrEnded { //nolint:errorlint // it is not wrapped
			return reply, err
		}
	}
	for i := range a.Broadcast {
		if err := broadcast(c, &a.Broadcast[i]); err != nil {
			return reply, err
		}
	}
	return reply, nil
}

func broadcast(c *channels.Context, b *Broadcast) error {
	switch own := b.Topic == "" || b.Topic == c.Topic(); {
	case own && b.Others:
		return c.BroadcastFrom(b.Event, b.Payload)
	case own:
		return c.Broadcast(b.Event, b.Payload)
	}
	return c.Endpoint().Broadcast(b.Topic, b.Event, b.Payload)
}
