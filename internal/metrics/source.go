// Package metrics exports the server's counters to Prometheus, and serves its
// health checks.
//
// families.go has the only table of metrics, from which the reference in docs
// is generated. All values are read on each scrape: nothing is counted here,
// and no metric has a label for a topic, a socket or an instance.
package metrics

import (
	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/membership"
	"github.com/mycelium-rt/mycelium/presence"
)

// Source is the server as seen by this package. Its methods are called by
// several goroutines.
type Source interface {
	// Ready returns nil if the server takes clients, else the reason.
	Ready() error
	// Server returns the counters of the event loops and of clients refused
	// before their instance was known; nothing else of it is read.
	Server() channels.Stats
	// LogDropped returns how many log lines could not be written.
	LogDropped() int64
	// Types returns all types of instances, each once.
	Types() []Type
}

// ClusterSource is a [Source] that may be a node of a cluster.
type ClusterSource interface {
	Source
	// Cluster returns what is known of the other nodes, nil for a single node.
	Cluster() *membership.View
}

// HistorySource is a [Source] that records messages.
type HistorySource interface {
	Source
	// History returns the figures of what is recorded.
	History() history.Stats
}

// Type is the sum over the instances of one type. Counters must not decrease
// when an instance ends, so those of ended instances are included.
type Type struct {
	// Name is the value of the label type. It is never specific to an instance.
	Name string
	// Instances is the present number of instances by state.
	Instances map[string]int
	// Restarts and Crashes count those of the instances' logic.
	Restarts, Crashes int64
	// Stats are sums, except MailboxHigh, which is the largest; Network is not
	// read.
	Stats channels.Stats
	// Presence is what the trackers hold.
	Presence presence.Stats
}
