//go:build race

package dispatch_test

// raceEnabled: the race detector makes sync.Pool drop at random, so allocations cannot be counted.
const raceEnabled = true
