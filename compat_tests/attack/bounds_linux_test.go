package attack

import "time"

// The bounds of what an attack may cost. The chat of 20 has 50 messages a second. The
// attackers have one processor to themselves, and chat and server share the rest, so the
// bounds are far above the figures of an idle server, and far below what the attacks did
// to a server without defences: gigabytes of memory, megabytes of log a second, seconds
// without a message.
const (
	// maxLatency bounds the 99th percentile of the chat's messages. People who type
	// do not notice it.
	maxLatency = 300 * time.Millisecond
	// maxMemory bounds how much the server's resident memory grows, in bytes. Most of
	// it is for buffers of 300 connections and garbage between two collections.
	maxMemory = 128 << 20
	// maxLog bounds the server's log, in bytes a second. At this rate a day's log is
	// 5 GB, which rotation can handle.
	maxLog = 64 << 10
	// slackDescriptors is how many more descriptors may be open afterwards, such as a
	// file of the system resolver.
	slackDescriptors = 5
	// slackStop is how much longer than its drain timeout a server may take to exit: its
	// store and log have two seconds, and the machine is busy with the attack.
	slackStop = 20 * time.Second
)
