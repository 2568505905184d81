//go:build !race

package compat_tests

// raceEnabled tells whether the tests run under the race detector.
const raceEnabled = false
