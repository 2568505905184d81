//go:build !race

// Package race tells tests whether the race detector is on, which makes everything
// slower, and pools forget.
package race

// Enabled reports whether the program was built with -race.
const Enabled = false
