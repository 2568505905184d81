// Package cluster replicates what happens on one node to all others.
//
// Every node has one log of numbered entries, which are appended without
// waiting, sent to all other nodes in batches, and kept for a while so that
// they can be sent again. A receiver applies the log of each peer in order and
// without gaps. It detects a hole by the numbers, or by the head that every
// heartbeat names, and asks for the missing entries; if the sender no longer
// keeps them, it gets a snapshot of the sender's state.
//
// No node relays the entries of another, so everything has one writer and there
// is nothing to merge; only what nodes have left that are gone is passed on by
// others (see [Heir]). A silent peer is Down, and what came from it is hidden;
// after a longer silence it is Gone and forgotten.
//
// The package knows neither network nor time: a [Transport] carries packets,
// and may lose, delay and repeat them; a [Clock] runs timers. A [Kind] gives
// entries their meaning. Package cluster/internal/sim runs nodes in a deterministic
// simulation.
package cluster
