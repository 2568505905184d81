package instances

import (
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/units"
)

// State is where an instance stands in its life:
//
//	pending ──> running ──> draining ──> stopped
//	   ▲  │        │
//	   └──┴────────┴──────> failed
//
// A crash takes a running instance back to pending until it is restarted; after
// too many crashes it is failed. A stopped or failed instance stays so until it
// is resumed, changed or deleted.
type State string

// The states.
const (
	Pending  State = "pending"  // being started, or waiting to be restarted
	Running  State = "running"  // serves clients
	Draining State = "draining" // closes its sockets; new clients are refused
	Stopped  State = "stopped"  // drained
	Failed   State = "failed"   // crashed too often; Info.Reason says how
)

// Info is what the manager knows of an instance at one moment.
type Info struct {
	Spec
	// Revision grows with every change of the spec.
	Revision uint64 `json:"revision"`
	// State is where the instance is in its life.
	State State `json:"state"`
	// Reason is why the instance is failed, pending again, or stopped.
	Reason string `json:"reason,omitempty"`
	// Node is the node of the cluster that runs the instance. It is empty while none does,
	// for an instance that runs on all nodes, and on a server that is in no cluster.
	Node string `json:"node,omitempty"`
	// Declared reports whether the instance comes from the server's configuration; then
	// it can be changed only there.
	Declared bool `json:"declared,omitempty"`
	// Incarnation is a number that no other instance of this manager has, not
	// even a later one with the same id. It is counted from the start of the
	// process.
	Incarnation uint64 `json:"-"`
	// Created is when the spec was accepted.
	Created time.Time `json:"created"`
	// Started is when the type's logic last started.
	Started time.Time `json:"started,omitzero"`
}

// Stats counts what has happened since the instance was created or the server
// started, including restarts of the instance, and its present state.
type Stats struct {
	Connections int64 `json:"connections"` // open now
	Channels    int64 `json:"channels"`    // joined now
	Topics      int   `json:"topics"`      // with subscribers now

	Connected   int64 `json:"connected"`    // connections so far
	MessagesIn  int64 `json:"messages_in"`  // received from clients
	MessagesOut int64 `json:"messages_out"` // sent to clients
	BytesIn     int64 `json:"bytes_in"`     // received from clients
	BytesOut    int64 `json:"bytes_out"`    // sent to clients
	Refused     int64 `json:"refused"`      // connections refused by a limit
	RateLimited int64 `json:"rate_limited"` // joins and messages refused by a rate
	HeldUp      int64 `json:"held_up"`      // pauses in reading a client, above a rate or because of a full mailbox
	Overloaded  int64 `json:"overloaded"`   // broadcasts refused because more was broadcast than could be sent
	Dropped     int64 `json:"dropped"`      // messages dropped because a mailbox was full

	Replays      int64 `json:"replays"`       // joins that asked for recorded messages, or were sent some
	NotRecovered int64 `json:"not_recovered"` // of these: some messages were missing
	// Recorded is what its history has now; nil if nothing is recorded.
	Recorded *Recorded `json:"recorded,omitempty"`

	Crashes        int64 `json:"crashes"`         // of hooks and of goroutines that the logic started
	ChannelCrashes int64 `json:"channel_crashes"` // of channel callbacks; each ends one client's channel
	Restarts       int64 `json:"restarts"`        // after crashes
	Leaked         int64 `json:"leaked"`          // goroutines that have outlived their logic
	Goroutines     int64 `json:"goroutines"`      // of the logic now
	MailboxHigh    int64 `json:"mailbox_high"`    // the most messages that ever waited for one channel

	Uptime units.Duration `json:"uptime"` // since the logic last started; 0 if it is not running
}

// Recorded is how much an instance has recorded.
type Recorded struct {
	Topics   int64 `json:"topics"`
	Messages int64 `json:"messages"`
	Bytes    int64 `json:"bytes"` // of memory
}

// add adds the counters of an endpoint. Gauges count only while it serves.
func (s *Stats) add(e channels.Stats) {
	s.Connections += e.Sockets
	s.Channels += e.Channels
	s.Connected += e.Opened
	s.MessagesIn += e.MessagesIn
	s.MessagesOut += e.MessagesOut
	s.BytesIn += e.BytesIn
	s.BytesOut += e.BytesOut
	s.Refused += e.Refused
	s.RateLimited += e.RateLimited
	s.HeldUp += e.HeldUp
	s.Overloaded += e.Overloaded
	s.Dropped += e.MailboxFull
	s.Replays += e.History.Replays
	s.NotRecovered += e.History.Expired + e.History.Limited + e.History.Unknown + e.History.NodeLost
	s.ChannelCrashes += e.Crashes
	s.MailboxHigh = max(s.MailboxHigh, e.MailboxHigh)
}

// Filter selects instances; the zero Filter selects all.
type Filter struct {
	Type   string
	State  State
	Labels map[string]string // all of them
	// Sees, if not nil, reports whether an id may be listed; List calls it
	// before anything else. It must not call the manager.
	Sees func(id string) bool
	// After continues a list after this id: next as returned by [Manager.List].
	After string
	// Limit bounds a page; 0: 100.
	Limit int
}

func (f *Filter) matches(i *Info) bool {
	if f.Type != "" && f.Type != i.Type || f.State != "" && f.State != i.State {
		return false
	}
	for key, value := range f.Labels {
		if have, ok := i.Labels[key]; !ok || have != value {
			return false
		}
	}
	return true
}

// Topic is a topic with subscribers.
type Topic struct {
	Topic       string `json:"topic"`
	Subscribers int    `json:"subscribers"` // channels that have joined it
}

// Event is something that happened to an instance, for [Manager.Watch].
type Event struct {
	Time     time.Time `json:"time"`
	Kind     EventKind `json:"kind"`
	ID       string    `json:"id"`
	Type     string    `json:"type"`
	State    State     `json:"state"`
	Revision uint64    `json:"revision"`
	Reason   string    `json:"reason,omitempty"`
}

// EventKind names what happened.
type EventKind string

// The kinds.
const (
	EventCreated  EventKind = "created"
	EventUpdated  EventKind = "updated"
	EventStarted  EventKind = "started"
	EventCrashed  EventKind = "crashed"
	EventFailed   EventKind = "failed"
	EventDraining EventKind = "draining"
	EventStopped  EventKind = "stopped"
	EventDeleted  EventKind = "deleted"
	EventLeaked   EventKind = "leaked"
)
