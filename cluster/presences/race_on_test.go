//go:build race

package presences

// raceEnabled: the race detector makes everything ten times slower.
const raceEnabled = true
