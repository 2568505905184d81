//go:build race

package presence

// raceEnabled: the race detector makes sync.Pool drop at random, so allocations cannot be counted.
const raceEnabled = true
