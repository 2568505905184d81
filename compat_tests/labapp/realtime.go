package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/presence"
)

// realtime is the channel of @supabase/realtime-js, which is not part of the
// application that was recorded. It answers as a Supabase Realtime server does,
// without a database and as far as the client looks:
//
//   - join {"config", "access_token"}: ok {"postgres_changes": those of config,
//     each with an id}; the access token "bad" is refused. Where config wants
//     presence, presence_state is pushed after the reply; where it wants
//     changes, a system message that says that they are subscribed to.
//   - broadcast {"type", "event", "payload"}: broadcast as it came, to the sender
//     where config.broadcast.self; the reply is ok where config.broadcast.ack.
//   - presence {"event": "track", "payload"} and {"event": "untrack"}: tracks, or
//     updates, under config.presence.key; reply ok. Another event is an error.
//   - access_token {"access_token"}: "bad" ends the channel after a system message.
//   - crash: a crash, which is this application's own word.
//   - any other event: nothing.
//
// Its frames are Phoenix's. The client's own binary kinds 3 and 4, with which it
// sends broadcasts by default, are Supabase's alone: vsn "1.0.0" or the option
// encode keeps it to the frames that Phoenix knows.
type realtime struct{ tracker *presence.Tracker }

type realtimeJoin struct {
	AccessToken string         `json:"access_token"`
	Config      realtimeConfig `json:"config"`
}

type realtimeConfig struct {
	Broadcast struct {
		Ack  bool `json:"ack"`
		Self bool `json:"self"`
	} `json:"broadcast"`
	Presence struct {
		Key     string `json:"key"`
		Enabled bool   `json:"enabled"`
	} `json:"presence"`
	PostgresChanges []map[string]any `json:"postgres_changes"`
}

// realtimeMessage is what the events broadcast and presence carry.
type realtimeMessage struct {
	Event   string          `json:"event"`
	Payload json.RawMessage `json:"payload"`
}

// systemMessage is what the server says of the channel itself.
type systemMessage struct {
	Extension string `json:"extension"`
	Status    string `json:"status"`
	Message   string `json:"message"`
	Channel   string `json:"channel"`
}

// joinedRealtime is sent by a join to its own channel, see afterJoin.
type joinedRealtime struct{}

func newRealtime(tracker *presence.Tracker) *channels.Channel {
	r := realtime{tracker}
	ch := channels.Handle("realtime:*", r.join)
	channels.Info(ch, r.enter)
	channels.On(ch, "presence", r.presence)
	channels.On(ch, "access_token", r.accessToken)
	on(ch, "broadcast", r.broadcast)
	on(ch, "crash", crash)
	ch.OnAny(func(*channels.Context, string, channels.Payload) (channels.Reply, error) { return none, nil })
	return ch
}

type realtimeJoined struct {
	PostgresChanges []map[string]any `json:"postgres_changes"`
}

func (r realtime) join(c *channels.Context, p realtimeJoin) (realtimeJoined, error) {
	if p.AccessToken == badToken {
		return realtimeJoined{}, channels.Errorf(tokenRefused)
	}
	if p.Config.Presence.Key == "" {
		p.Config.Presence.Key = rand.Text()
	}
	changes := p.Config.PostgresChanges
	if changes == nil {
		changes = []map[string]any{} // the client counts them against its own
	}
	for i, change := range changes {
		change["id"] = i + 1
	}
	c.Assign("config", p.Config)
	must(c.Send(joinedRealtime{}))
	return realtimeJoined{changes}, nil
}

const (
	badToken     = "bad"
	tokenRefused = "InvalidJWTToken: the token is bad"
)

func configOf(c *channels.Context) realtimeConfig { return c.Get("config").(realtimeConfig) }

// enter comes behind the reply of the join.
func (r realtime) enter(c *channels.Context, _ joinedRealtime) error {
	config := configOf(c)
	if config.Presence.Enabled {
		must(r.tracker.PushState(c))
	}
	if len(config.PostgresChanges) > 0 {
		must(c.Push("system", systemMessage{"postgres_changes", "ok", "Subscribed to PostgreSQL", c.Subtopic()}))
	}
	return nil
}

func (r realtime) broadcast(c *channels.Context, p channels.Payload) channels.Reply {
	config := configOf(c).Broadcast
	if config.Self {
		must(c.Broadcast("broadcast", p))
	} else {
		must(c.BroadcastFrom("broadcast", p))
	}
	if config.Ack {
		return ok(nil)
	}
	return none
}

func (r realtime) presence(c *channels.Context, m realtimeMessage) (channels.Reply, error) {
	key := configOf(c).Presence.Key
	switch m.Event {
	case "track":
		_, err := r.tracker.Track(c, key, m.Payload)
		if errors.Is(err, presence.ErrAlreadyTracked) {
			_, err = r.tracker.Update(c, key, m.Payload)
		}
		mustTrack(err)
	case "untrack":
		r.tracker.Untrack(c, key)
	default:
		return failed(map[string]string{"reason": "unknown presence event"}), nil
	}
	return ok(nil), nil
}

func (r realtime) accessToken(c *channels.Context, m struct {
	AccessToken string `json:"access_token"`
}) (channels.NoReply, error) {
	if m.AccessToken == badToken {
		must(c.Push("system", systemMessage{"system", "error", tokenRefused, c.Subtopic()}))
		c.Stop(nil)
	}
	return channels.NoReply{}, nil
}
