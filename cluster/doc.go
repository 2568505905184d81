// Package cluster replicates what happens on one node to all others.
//
// Every node has one log: entries with numbers, appended without waiting, sent
// to everybody in batches, and kept for a while so that they can be sent again.
// A receiver applies the log of each peer in order and without gaps. It finds a
// hole by the numbers, or by the head that every heartbeat names, and asks for
// what is missing; what the sender no longer keeps is replaced by a snapshot of
// its state.
//
// Nobody relays what is another's, so there is one writer for everything and
// nothing to merge. A peer that is silent is Down, and what came from it is hidden;
// after a longer while it is Gone and forgotten.
//
// The package knows neither a network nor the time: a [Transport] carries
// packets and may lose, delay and repeat them, a [Clock] runs timers. Kinds give entries their
// meaning. Package cluster/sim runs nodes in a deterministic simulation.
package cluster
