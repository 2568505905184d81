package main

import (
	"encoding/json"
	"errors"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/presence"
)

// room is the channel with presences.
type room struct{ tracker *presence.Tracker }

func newRoom(tracker *presence.Tracker) *channels.Channel {
	r := room{tracker}
	ch := channels.Handle("room:*", func(c *channels.Context, params channels.Payload) (channels.NoReply, error) {
		c.Assign("key", keyOf(c, params))
		must(c.Send(afterJoin{keep(params)}))
		return channels.NoReply{}, nil
	})
	channels.Info(ch, r.enter)
	onAll(ch, map[string]handler{
		"update":  r.update,
		"track":   r.track,
		"untrack": r.untrack,
		"list":    r.list,
		"crash":   crash,
		"echo":    echo("ok"),
		"shout":   shout,
	})
	return ch
}

// keyOf returns the presence key of a client.
func keyOf(c *channels.Context, params channels.Payload) string {
	if o, err := asObject(params); err == nil && o.has("user") && string(o["user"]) != "false" {
		return o.name("user")
	}
	if user, ok := visitors.Get(c).params()["user"].(string); ok {
		return user
	}
	return "anon"
}

func ownKey(c *channels.Context) string { return c.Get("key").(string) }

// enter runs after the reply to the join.
func (r room) enter(c *channels.Context, joined afterJoin) error {
	meta := json.RawMessage("{}")
	if o, err := asObject(joined.params); err == nil {
		meta = o.or("meta", "{}")
	}
	_, err := r.tracker.Track(c, ownKey(c), meta)
	mustTrack(err)
	must(r.tracker.PushState(c))
	return nil
}

func (r room) update(c *channels.Context, p channels.Payload) channels.Reply {
	if _, err := r.tracker.Update(c, ownKey(c), jsonOf(p)); err != nil {
		return refusal(err)
	}
	return ok(nil)
}

func (r room) track(c *channels.Context, p channels.Payload) channels.Reply {
	o := objectOf(p)
	ref, err := r.tracker.Track(c, o.name("key"), o.or("meta", "{}"))
	if err != nil {
		return refusal(err)
	}
	return ok(map[string]string{"ref": ref})
}

func (r room) untrack(c *channels.Context, p channels.Payload) channels.Reply {
	key := ownKey(c)
	if o, err := asObject(p); err == nil && o.has("key") {
		key = o.name("key")
	}
	r.tracker.Untrack(c, key)
	return ok(nil)
}

func (r room) list(c *channels.Context, _ channels.Payload) channels.Reply {
	return ok(channels.Payload{Data: r.tracker.AppendList(nil, c.Topic())})
}

// refusal returns the reply of Phoenix for an error of the tracker. An invalid meta or key
// crashes the channel.
func refusal(err error) channels.Reply {
	reason := ""
	switch {
	case errors.Is(err, presence.ErrNotTracked):
		reason = "nopresence"
	case errors.Is(err, presence.ErrAlreadyTracked):
		reason = "already_tracked"
	default:
		mustTrack(err)
	}
	return failed(map[string]string{"reason": reason})
}

// mustTrack crashes the channel for an error, unless it has ended anyway.
func mustTrack(err error) {
	if err != nil && !errors.Is(err, presence.ErrChannelEnded) && !errors.Is(err, presence.ErrClosed) {
		panic(err)
	}
}

func jsonOf(p channels.Payload) json.RawMessage {
	if p.Binary {
		panic("the payload is bytes")
	}
	return p.Data
}
