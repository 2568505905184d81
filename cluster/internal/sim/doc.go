// Package sim runs nodes of package cluster on a virtual network and a virtual
// clock, from one seeded generator and without goroutines: the same seed is the
// same run, to the last packet.
//
// A [World] has hosts. Each runs lives one after the other: a node that is
// started, paused, stopped and killed. Packets are delayed, lost and repeated,
// routes are cut in both directions or in one. What goes on is kept as a trace that
// a person can read.
//
// The tests check the invariants of the replication with a model of presences
// and of broadcasts:
//
//	go test ./cluster/internal/sim                     # 500 seeds
//	go test ./cluster/internal/sim -seeds 100000       # make sim
//	go test ./cluster/internal/sim -run Seeds -seed 42 -trace
package sim
