// Package conformance replays recordings of a real Phoenix against any server, over real
// sockets, and compares the answers.
//
// compat_tests/transcripts/FORMAT.md describes the recordings and the rules of
// comparison. Rule numbers in the comments of this package refer to its section 6.
// DEFECTS.md beside it, and defects.go here, list the better answers that pass too.
//
// [Load] reads a scenario, plan.go divides a recording into blocks and items, run.go does
// the actions, client.go and http.go are the sockets, match.go decides which item an
// observation is, and compare.go whether two messages are the same.
package conformance
