// Package presences shares the presences of trackers between the nodes of a
// cluster. It implements [cluster.Kind] for package presence.
//
//	kind := presences.New()
//	node, err := cluster.Start(transport, clock, cluster.Options{Name: "a", Kinds: kind.Types()})
//	…
//	kind.Start(node)
//	tracker := presence.New(endpoint, presence.Options{Replicator: kind.Space("chat")})
//
// Trackers of the same space on different nodes have each other's presences. A
// node tells others only of its own presences. Those of a peer are shown while
// the peer is up, hidden while it is down, and forgotten when it is gone.
package presences
