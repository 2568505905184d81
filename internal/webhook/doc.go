// Package webhook sends signed JSON to a back end and takes its answers. It
// knows nothing of what they mean: package hooks does.
//
// Whatever the back end does, a call ends within its time limit, takes bounded
// memory, and is one of a bounded number.
package webhook
