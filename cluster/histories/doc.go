// Package histories shares recorded messages between the nodes of a cluster. It
// implements [cluster.Kind] for package history.
//
//	kind := histories.New(store)
//	node, err := cluster.Start(transport, clock, cluster.Options{Name: "a", ID: kind.Log(), Kinds: kind.Types()})
//	…
//	kind.Start(node)
//
// Each node sends the others what it records as entries of its log, instead of the
// broadcasts themselves. A node that starts, or has lost entries, gets the messages that
// the others have recorded, and those of nodes that have ended.
package histories
