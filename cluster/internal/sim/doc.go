// Package sim runs nodes of package cluster on a virtual network and a virtual
// clock, from one seeded generator and without goroutines: the same seed is the
// same run, to the last packet.
//
// A [World] has hosts. Each host runs one [Life] after the other: a node that is
// started, paused, stopped or killed. Packets are delayed, lost and repeated, and
// routes are cut in one direction or in both. A trace that a person can read
// records what happened.
//
// The tests check the invariants of the replication with a model of presences
// and of broadcasts, and those of the history with clients that follow topics, are cut
// off, and come back to other nodes: readers, which keep positions, and visitors, which have
// sessions. Every fourth seed is a town with visitors.
//
//	go test ./cluster/internal/sim                     # 2,000 seeds; 40 with -race
//	go test ./cluster/internal/sim -seeds 100000       # make sim
//	go test ./cluster/internal/sim -run Seeds -seed 42 -trace
package sim
