// Package events sends back ends the events of instances: who connects, joins and leaves,
// and what is published.
//
// Each instance whose events somebody wants has a [Stream]. It observes the instance, and
// appends each event to an outbox (package outbox) before a client can see what the event
// is about. From there, the instance's hooks are sent events in batches, one batch after
// the other, and followers read them. So with [Options].Dir, an event survives kill -9
// once its cause was answered.
//
// A stream also keeps track of connected clients, the topics that they have joined, and
// presences. From time to time it saves them in a snapshot. From the snapshot and the
// events since then, the next process learns after a crash who was connected, and appends
// the events that end their connections.
//
// An instance without hooks and followers has no stream, and its endpoint no observer.
package events
