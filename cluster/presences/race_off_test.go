//go:build !race

package presences

const raceEnabled = false
