//go:build !race

package clients

// raceEnabled tells whether the tests run under the race detector.
const raceEnabled = false
