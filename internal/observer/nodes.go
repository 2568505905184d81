package observer

import (
	"slices"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/internal/membership"
)

// Nodes is the source of a sample's cluster.
type Nodes struct {
	// View returns the last view of the cluster without waiting, and nil if there is
	// no cluster. It may be nil.
	View func() *membership.View
	// Version and Sockets are this node's own.
	Version string
	Sockets func() int64
}

// Cluster is what this node sees of its cluster.
type Cluster struct {
	Name string `json:"name"`
	// Connected reports that NATS is reached.
	Connected bool `json:"connected"`
	// WaitingBytes is the size of what waits to be sent.
	WaitingBytes int `json:"waiting_bytes"`
	// Store is why requests to the store of instances fail, and StoreBehind what this
	// node's own part of it lacks. Both are empty without one.
	Store       string `json:"store,omitempty"`
	StoreBehind string `json:"store_behind,omitempty"`
	// Nodes are this one and the others, by name.
	Nodes []NodeRow `json:"nodes"`
}

// NodeRow is a node as this one sees it.
type NodeRow struct {
	Name    string `json:"name"`
	Address string `json:"address,omitempty"` // for clients
	// Self marks the node whose observer this is.
	Self  bool             `json:"self,omitempty"`
	State membership.State `json:"state"`
	// Draining: it closes its sockets, to stop.
	Draining bool      `json:"draining,omitempty"`
	Since    time.Time `json:"since"`
	Version  string    `json:"version"`
	Sockets  int64     `json:"sockets"`
	// Entries come from it a second: broadcasts, and changes of presence.
	Entries float64 `json:"entries"`
	// Behind counts its entries that are not here yet, Lost those that never came,
	// Resent those that it has sent to others again.
	Behind uint64 `json:"behind"`
	Lost   uint64 `json:"lost"`
	Resent uint64 `json:"resent"`
	// AheadSeconds is by how much its clock is ahead of this node's.
	AheadSeconds float64 `json:"ahead_seconds,omitempty"`
}

// look is nil where there is no cluster.
func (n Nodes) look() *Cluster {
	if n.View == nil {
		return nil
	}
	v := n.View()
	if v == nil {
		return nil
	}
	self := NodeRow{
		Name: v.Name, Self: true, State: membership.Up, Since: v.Started, Version: n.Version, Sockets: n.Sockets(),
		Entries: v.Rate, Resent: v.Stats.Resent,
	}
	c := &Cluster{Name: v.Cluster, Connected: v.Link.Connected, WaitingBytes: v.Stats.Waiting, Nodes: make([]NodeRow, 0, 1+len(v.Peers))}
	if v.Store != nil {
		c.Store, c.StoreBehind = v.Store.Trouble, v.Store.Behind
	}
	for i := range v.Peers {
		p := &v.Peers[i]
		c.Nodes = append(c.Nodes, NodeRow{
			Name: p.Name, Address: p.Address, State: p.State, Since: p.Since, Version: p.Facts.Version, Sockets: p.Facts.Sockets,
			Entries: p.Rate, Behind: p.Behind, Lost: p.Lost, Resent: p.Facts.Resent,
			Draining: p.Facts.Draining, AheadSeconds: p.Ahead.Seconds(),
		})
	}
	c.Nodes = append(c.Nodes, self)
	slices.SortStableFunc(c.Nodes, func(a, b NodeRow) int { return strings.Compare(a.Name, b.Name) })
	return c
}
