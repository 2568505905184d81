// Package presence tracks who is in a topic and tells its clients of every change,
// as Phoenix.Presence does. Clients use the Presence class of phoenix.js or one of its kin.
//
// A [Tracker] holds the presences of an endpoint. A channel tracks a key, such as the
// id of its user, with a meta that describes this one connection:
//
//	who := presence.New(endpoint, presence.Options{})
//	ref, err := who.Track(c, userID, map[string]any{"device": "phone"})
//	err = who.PushState(c)
//
// The clients of the topic get a presence_diff with what joined and what left, and c's client
// the whole presence_state. A presence ends with its channel, however that ends.
//
// # Order
//
// A presence_state and the diffs that follow it add up to the truth; the clients rely on it
// (assets/js/phoenix/presence.js). A tracker makes every change, diff and state of a topic under
// one lock, and sends them in that order.
//
// # Clusters
//
// With [Options.Replicator] a tracker also shows the presences of other nodes. Package
// cluster/presences has one for the nodes of package cluster. [Replicator], [Replica] and [Roster]
// are for programs that connect their nodes in another way; others do not need them.
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

// Errors of a [Tracker].
var (
	// ErrAlreadyTracked is returned by Track if the channel tracks the key already. Use Update.
	ErrAlreadyTracked = errors.New("presence: already tracked")
	// ErrNotTracked is returned by Update if the channel does not track the key.
	ErrNotTracked = errors.New("presence: not tracked")
	// ErrMetaNotObject is returned for a meta that does not encode to a JSON object.
	ErrMetaNotObject = errors.New("presence: meta is not a JSON object")
	// ErrKeyNotText is returned for a key that is not valid UTF-8.
	ErrKeyNotText = errors.New("presence: key is not valid UTF-8")
	// ErrChannelEnded is returned by Track if the channel has ended.
	ErrChannelEnded = errors.New("presence: channel has ended")
	// ErrClosed is returned by a tracker that is closed.
	ErrClosed = errors.New("presence: tracker closed")
)

// Broadcaster sends diffs to the subscribers of a topic. A *channels.Endpoint is one.
type Broadcaster interface {
	// BroadcastLocal sends a broadcast to the subscribers of topic on this node, and not to
	// other nodes, which make diffs of their own. The payload encodes to a JSON object with encoding/json and is valid
	// until BroadcastLocal returns. BroadcastLocal must not block and must not call the tracker. Broadcasts to one topic must
	// reach each subscriber in order.
	BroadcastLocal(topic, event string, payload any) error
}

// Channel is a joined channel, which tracks keys in its topic. A *channels.Context is one.
// Channels are compared with ==, so a Channel must be a pointer.
type Channel interface {
	// Topic returns the channel's topic, always the same one.
	Topic() string
	// Push sends an event to this channel's client alone. The payload encodes to a JSON object with encoding/json and is
	// valid until Push returns. Push must not block, call the tracker or run the functions given to OnEnd. The client must
	// get the event in order with the broadcasts of the [Broadcaster].
	Push(event string, payload any) error
	// OnEnd registers f to be called once when the channel has ended, or calls it at once if it has ended already. f must be
	// called without the locks that Push and BroadcastLocal take.
	OnEnd(f func())
}

// Keeper is implemented by a [Channel] that counts the memory used for its client.
type Keeper interface {
	// Keep adds n bytes, or subtracts them if n is negative. It must not block and must not call the tracker.
	Keep(n int)
}

// Options configure a [Tracker]. The zero value behaves as Phoenix does.
type Options struct {
	// Window is how long the changes of a topic are gathered into one diff, from the first of them on. A presence that
	// joins and leaves within the window is not sent. 0 sends every change at once. In a storm of joins a window saves
	// most messages, and half of the bytes; see docs/performance.md.
	Window time.Duration
	// Diffs reports whether clients of a topic get diffs; nil means always. It is called when the first key of a topic is
	// tracked, and must not call the tracker. Without diffs a topic still has a state.
	Diffs func(topic string) bool
	// Node is part of each phx_ref, so that refs of several nodes differ. With a Replicator it is ignored.
	Node uint16
	// Replicator connects the tracker with those of other nodes; nil means a single node. The tracker closes it.
	Replicator Replicator
	// Now returns the time for phx_refs. The default is time.Now.
	Now func() time.Time
	// Fetch adds to what clients are told about keys, for example the names of users (Phoenix.Presence's fetch/2). It is
	// given presences of a topic by key, so that one query of a database answers for many keys: each with its metas, at most 100
	// of them, and with what Fetch returned before. It returns for each key a value that encodes to a JSON object or null. Clients get
	// the members of that object beside "metas", which only the tracker sets. A key that Fetch leaves out is sent
	// with its metas alone; Phoenix does not send such a key.
	//
	// Fetch is called before clients are told of a join or an update, for the keys concerned, and before
	// [Tracker.PushState] pushes a state, for all keys of the topic. Diffs and states wait for it; changes that happen
	// meanwhile are gathered as in a Window. A topic has one call at a time, for at most 1,000 keys, and a tracker has at most
	// 64. What Fetch returned stays with the key until it leaves: the diffs of leaves, [Tracker.List] and
	// HandleMetas have it without another call.
	//
	// Fetch runs on a goroutine of its own, may block, and may call the tracker. If it returns an error, panics, or
	// does not return within FetchTimeout, its keys keep what they had before, and OnError is called. The same holds
	// for a single key whose value is not an object or takes more than 32 KiB. In a cluster each node calls Fetch for its own
	// clients, and learns of a presence of another node when that node has told its clients.
	Fetch func(ctx context.Context, topic string, presences map[string]Entry) (map[string]any, error)
	// FetchTimeout is how long a diff or a state waits for one call of Fetch. The default is 5 s.
	FetchTimeout time.Duration
	// HandleMetas is called with the changes of each topic, those of other nodes included, after the diffs
	// were sent (Phoenix.Presence's handle_metas). It runs on a goroutine of its own, one call at a time; it may block
	// and call the tracker, except for Close. Changes of a topic that happen meanwhile are joined to one, without what
	// has joined and left in between. A panic is reported to OnError.
	HandleMetas func(c Change)
	// OnError is called when the Broadcaster fails, so that clients of the topic miss a diff until they rejoin, and
	// when Fetch or HandleMetas fails. It may be called with a lock held and must not call the tracker. nil ignores errors.
	OnError func(topic string, err error)
}

// Meta is one presence under a key, for example one browser tab of a user.
type Meta struct {
	Ref     string          // phx_ref
	PrevRef string          // phx_ref_prev: Ref before the last update that clients were told of, or ""
	JSON    json.RawMessage // the whole object as clients see it, phx_ref included
}

// MarshalJSON returns m.JSON.
func (m Meta) MarshalJSON() ([]byte, error) { return m.JSON, nil }

// Entry is the presences under one key. It has at least one meta.
type Entry struct {
	Metas []Meta
	// Fetched is the JSON object that Options.Fetch last returned for the key; nil if there is none.
	Fetched json.RawMessage
}

// MarshalJSON returns e as clients see it: an object with "metas" and the members of Fetched.
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
