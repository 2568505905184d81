package realtime

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// session is one joined channel. Owned by its callbacks.
type session struct {
	// Static after the join.
	private   bool
	ack, self bool
	key       string // of its presence
	presence  bool   // wants the presence_state
	changes   []object

	grant  grant
	rights Rights          // of a private channel
	expiry *channels.Timer // nil: the token does not expire

	tracked     uint64 // hash of the meta that is tracked; 0: none is
	windowEnds  time.Time
	windowCount int // presence messages since the window began
}

var sessionKey = channels.NewKey[*session]("realtime")

// hashSeed is the seed of session.tracked.
var hashSeed = maphash.MakeSeed()

// joined is a message that a join sends to its own channel, so that what its handler
// pushes follows the reply, and the client is already subscribed.
type joined struct{ replication bool }

// joinReply is the response to a join. The Kotlin and Swift clients regard a channel as
// joined only if the field is present (supabase-kt, RealtimeChannelImpl.kt).
type joinReply struct {
	PostgresChanges []json.RawMessage `json:"postgres_changes"`
}

func (l *logic) join(c *channels.Context, p channels.Payload) (joinReply, error) {
	reply, err := l.admit(c, parseParams(p))
	if err != nil {
		wait(c, time.Duration(l.config.Load().ErrorDelay)) // slows down clients that try again at once
	}
	return reply, err
}

// admit decides whether a client may join. Its checks have Supabase's order, which decides
// what a join with several faults is told.
func (l *logic) admit(c *channels.Context, j params) (joinReply, error) {
	config := l.config.Load()
	if c.Subtopic() == "" {
		return joinReply{}, channels.Errorf("TopicNameRequired: You must provide a topic name")
	}
	if config.PrivateOnly && !j.private {
		return joinReply{}, channels.Errorf("PrivateOnly: This project only allows private channels")
	}
	client := clientKey.Get(c.Socket())
	if err := l.limitJoins(c, client); err != nil {
		return joinReply{}, err
	}
	g, refusal := l.grantOfJoin(c, client, j)
	if refusal != nil {
		return joinReply{}, channels.Errorf("%s: %s", refusal.code, refusal.message)
	}
	s := &session{private: j.private, ack: j.ack, self: j.self, key: j.presenceKey, presence: j.presence, changes: j.changesOf(c), grant: g}
	if j.private {
		if s.rights = l.rightsTo(c, g); !s.rights.Read {
			return joinReply{}, channels.Errorf("Unauthorized: %s", mayNotRead(c))
		}
	}
	if err := l.checkReplay(c, j); err != nil {
		return joinReply{}, err
	}
	if j.presenceWrong != "" {
		return joinReply{}, channels.Errorf("InvalidJoinPayload: %s", j.presenceWrong)
	}
	if len(j.changes) > 0 && config.PostgresChanges == refuseChanges {
		return joinReply{}, errChangesRefused
	}
	sessionKey.Set(c, s)
	l.scheduleExpiry(c, s)
	return joinReply{identified(s.changes)}, c.Send(joined{j.replication})
}

// wait waits for d, or until ctx is done.
func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// limitJoins counts a join, or refuses it.
func (l *logic) limitJoins(c *channels.Context, client *client) error {
	limits := &l.config.Load().Limits
	if l.joins.Add(1); l.above(&l.rates.joins, limits.Joins) {
		c.OnEnd(func() { c.Socket().Close(closeGoingAway, "") }) // after the answer
		return channels.Errorf("ClientJoinRateLimitReached: Too many joins per second")
	}
	client.channels.Add(1)
	c.OnEnd(func() { client.channels.Add(-1) })
	if n := limits.Channels; n > 0 && client.channels.Load() > int64(n) {
		return channels.Errorf("ChannelRateLimitReached: Too many channels")
	}
	return nil
}

// closeGoingAway is the close code of a client that joins too often; it reconnects with its
// own back-off.
const closeGoingAway = 1001

// joined is called once the client is subscribed.
func (l *logic) joined(c *channels.Context, j joined) error {
	s := sessionKey.Get(c)
	if s.presence {
		if l.countPresence() {
			return l.shutdown(c, "Too many presence messages per second")
		}
		if err := l.presence.PushState(c); err != nil {
			return err
		}
	}
	if j.replication {
		if err := l.system(c, statusError, extensionSystem, noReplication); err != nil {
			return err
		}
	}
	return l.reportChanges(c, s)
}
