// Package conformance re-enacts recordings of a real Phoenix against any
// server over real sockets and judges what comes back.
//
// The recordings and the rules of comparison are described in
// compat_tests/transcripts/FORMAT.md; rule numbers in the comments of this
// package are the numbers of its section 6. What may be answered better than
// Phoenix does is in DEFECTS.md beside it, and here in defects.go.
//
// The way of a scenario: [Load] reads it, plan.go cuts a recording into blocks
// and items, run.go does the actions, client.go and http.go are the sockets,
// match.go decides which items an observation may be, compare.go whether two
// messages are the same.
package conformance
