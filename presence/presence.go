// Package presence knows who is there: per topic the keys that channels have tracked, each with its metas, and tells the
// topic of every change with a presence_diff, as Phoenix.Presence does. A [Replicator] adds those of other nodes.
//
// What clients rely on (assets/js/phoenix/presence.js): a presence_state and the diffs after it add up to the truth. So
// every change to a topic, every diff and every state of it is made under one lock, and leaves in that order.
package presence

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// The events that phoenix.js's Presence listens to (assets/js/phoenix/presence.js, constructor).
const (
	EventState = "presence_state"
	EventDiff  = "presence_diff"
)

// Errors of tracking and updating.
var (
	// ErrAlreadyTracked: the channel has tracked this key already; update it instead.
	ErrAlreadyTracked = errors.New("presence: already tracked")
	// ErrNotTracked: the channel has not tracked this key. Phoenix's word for it is nopresence.
	ErrNotTracked = errors.New("presence: not tracked")
	// ErrMetaNotObject: the meta is no JSON object.
	ErrMetaNotObject = errors.New("presence: meta is not a JSON object")
	// ErrKeyNotText: the key is not valid UTF-8, so that it cannot be a key of a JSON object.
	ErrKeyNotText = errors.New("presence: key is not valid UTF-8")
	// ErrChannelEnded: the channel has ended, nothing is tracked for it any more.
	ErrChannelEnded = errors.New("presence: channel has ended")
	// ErrClosed: the tracker is closed.
	ErrClosed = errors.New("presence: tracker closed")
)

// Broadcaster sends diffs to the subscribers of a topic on this node. A *channels.Endpoint is one.
type Broadcaster interface {
	// BroadcastLocal sends a broadcast to the subscribers of this node and to no others: each node makes its own
	// diffs, of what it has told its clients before. The payload encodes with encoding/json, as an object, and is
	// valid until BroadcastLocal returns. It must not block and must not call the tracker. Calls for one topic
	// reach each subscriber in their order.
	BroadcastLocal(topic, event string, payload any) error
}

// Channel is a joined channel, which tracks keys in its topic; a *channels.Context is one. Channels are told apart by
// identity: a Channel must be a pointer.
type Channel interface {
	// Topic is the channel's topic, always the same.
	Topic() string
	// Push sends a push to this channel's client alone. The payload encodes with encoding/json, as an object, and is
	// valid until Push returns. It must not block and must not call the tracker, nor run what OnEnd was given. The
	// push keeps its place among the broadcasts of [Broadcaster] that happened before and happen after it.
	Push(event string, payload any) error
	// OnEnd has f run once when the channel has ended, however it ends, or at once if it has ended. f is run without
	// any lock that Push or BroadcastLocal take.
	OnEnd(f func())
}

// Keeper is a [Channel] that counts what is kept for its client.
type Keeper interface {
	// Keep counts n bytes more, or less. It must not block and must not call the tracker.
	Keep(n int)
}

// Options of a [Tracker]. The zero value behaves as Phoenix does.
type Options struct {
	// Window gathers the changes of a topic into one diff: it is sent this long after the first of them. What came and
	// went within it is not sent at all. 0: every change is sent at once. What it saves in a storm of joins is messages
	// and time, a hundredth of them and a third, and half of the diffs' bytes: docs/performance.md.
	Window time.Duration
	// Diffs says whether a topic sends diffs, nil means all do. It is asked when a topic gets its first key;
	// a topic without diffs still has its state, which is always the present one. It must not call the tracker.
	Diffs func(topic string) bool
	// Node goes into each phx_ref and keeps those of several nodes apart. A Replicator has one of its own.
	Node uint16
	// Replicator connects the tracker with those of other nodes; nil: there are none. The tracker closes it.
	Replicator Replicator
	// Now is the clock of phx_ref; nil: time.Now.
	Now func() time.Time
	// Fetch adds to what clients are told about keys, for example the names of users (Phoenix.Presence's fetch/2), with
	// one query of a database for many keys. It is given presences of a topic: by key the metas, at most 100 of them, and what
	// Fetch returned before. It returns for each key a value that encodes to a JSON object or to null. Clients get the
	// members of the object beside "metas", which only the tracker sets. A key that Fetch leaves out is sent with its metas
	// alone (Phoenix does not send such a key).
	//
	// Fetch is called before clients are told that somebody has joined under a key or was updated, and for all keys of the
	// topic before [Tracker.PushState] pushes a state. Diffs and states wait for it, and changes that come meanwhile are
	// gathered as in a Window. Changes and states that wait at the same time share calls. A topic has one call at a
	// time, for at most 1,000 keys, and a tracker has 64. What Fetch returned stays with the key until it leaves: diffs of
	// leaves, [Tracker.List] and HandleMetas have it without another call.
	//
	// Fetch runs on a goroutine of its own, may block, and may call the tracker. If it returns an error, panics or has not
	// returned after FetchTimeout, the keys keep what they had, which for a new key is nothing, and OnError is told. So it
	// is with a single key whose value is not an object or takes more than 32 KiB. In a cluster each node calls Fetch for its
	// own clients, once the node of a presence has told its own.
	Fetch func(ctx context.Context, topic string, presences map[string]Entry) (map[string]any, error)
	// FetchTimeout is how long a diff or a state waits for one call of Fetch, whose ctx is then done. Default 5 s.
	FetchTimeout time.Duration
	// HandleMetas is told who has come to a topic and who has gone, on any node of a Replicator and in topics without diffs
	// too, with the diffs and after them (Phoenix.Presence's handle_metas). It runs on a goroutine of the tracker's, one
	// change at a time, and may block and call the tracker, except for Close. Changes of a topic that come meanwhile
	// are told as one: what came and went is not among them. A panic ends nothing and is told to OnError.
	HandleMetas func(c Change)
	// OnError is told of diffs that the Broadcaster did not take, which clients of the topic miss until they rejoin, and of
	// what went wrong in Fetch and HandleMetas. It may be called with a lock held and must not call the tracker. nil
	// ignores errors.
	OnError func(topic string, err error)
}

// Meta is one presence under a key: one tab of a user, say.
type Meta struct {
	Ref     string          // phx_ref
	PrevRef string          // phx_ref_prev: Ref before the last update that clients were told of, or ""
	JSON    json.RawMessage // the whole object as clients see it, phx_ref included
}

// MarshalJSON returns the object as clients see it.
func (m Meta) MarshalJSON() ([]byte, error) { return m.JSON, nil }

// Entry is what is present under a key: at least one meta.
type Entry struct {
	Metas []Meta
	// Fetched is the JSON object that [Options.Fetch] last returned for the key, or nil.
	Fetched json.RawMessage
}

// MarshalJSON returns the object as clients see it: the member "metas", and those of Fetched.
func (e Entry) MarshalJSON() ([]byte, error) {
	metas, err := json.Marshal(e.Metas)
	if err != nil {
		return nil, err
	}
	object := append([]byte(`{"metas":`), metas...)
	if len(e.Fetched) > len("{}") {
		object = append(object, ',')
		return append(object, e.Fetched[1:]...), nil
	}
	return append(object, '}'), nil
}
