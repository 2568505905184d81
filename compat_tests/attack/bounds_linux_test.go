package attack

import "time"

// What an attack may cost the others. The chat of 20 has 50 messages a second;
// the attackers have one processor of the machine to themselves, the chat and
// the server share what is left, so the bounds are far above an idle server's figures and far
// below what the attacks did to a server without defences: gigabytes,
// megabytes of log a second, seconds of silence.
const (
	// maxLatency bounds the 99th percentile of the chat's messages: somebody who
	// types notices nothing.
	maxLatency = 300 * time.Millisecond
	// maxMemory bounds how much the server's resident memory grows, in bytes. The largest share
	// are buffers of 300 connections and the garbage between two collections.
	maxMemory = 128 << 20
	// maxLog bounds the server's log, in bytes a second: at this rate a day
	// fills 5 GB, which rotation handles.
	maxLog = 64 << 10
	// slackDescriptors may be open afterwards that were not before: the listener
	// of a profile, a file of the system resolver.
	slackDescriptors = 5
	// slackStop is what a server may take to end beyond its drain timeout: a store
	// and a log have two seconds, and the machine is busy with the attack.
	slackStop = 5 * time.Second
)
