// Package metrics is what the server tells those that watch it: its counters in
// the form of Prometheus, whether it lives, and whether it takes clients.
//
// families.go has the one table of metrics; the reference in Markdown comes
// from it. All of them are read when somebody asks: nothing is counted here, and
// no metric has a label for a topic, a socket or one instance.
package metrics

import (
	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/membership"
	"github.com/mycelium-rt/mycelium/presence"
)

// Source is what is watched: the server, to this package. Its methods are called
// by several goroutines.
type Source interface {
	// Ready is nil if the server takes clients, else it says why not.
	Ready() error
	// Server are the counters of the event loops, and of what is refused before
	// it is known which instance is meant; nothing else of it is read.
	Server() channels.Stats
	// LogDropped is how many lines of the log could not be written.
	LogDropped() int64
	// Types are all types of instances that there are, each once.
	Types() []Type
}

// ClusterSource is a [Source] that may be a node of a cluster.
type ClusterSource interface {
	Source
	// Cluster is what is known of the other nodes; nil if this is a single node.
	Cluster() *membership.View
}

// Type is the sum over the instances of one type. What only grows must not
// shrink when an instance ends: the counters of those that have ended stay in.
type Type struct {
	// Name is the value of the label type. There are as many as there are
	// types: it is never an instance's own.
	Name string
	// Instances are how many there are now, by state.
	Instances map[string]int
	// Restarts and Crashes are of the instances' own logic.
	Restarts, Crashes int64
	// Stats are sums, and of MailboxHigh the largest; Network is not read.
	Stats channels.Stats
	// Presence is how much the trackers hold.
	Presence presence.Stats
}
