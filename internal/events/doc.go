// Package events tells back ends what happens in instances.
//
// Each instance that is told about has a [Stream]: it observes the instance, and appends
// what happens to an outbox (package outbox) before a client can see it. From there, the
// hooks of the instance are sent events in batches, one batch after the other, and
// followers read them. An event therefore survives kill -9 once its cause was answered.
//
// A stream also knows who is connected, where, and what is present. It saves that now and
// then; with the events since, it finds after a crash who was connected, and tells that
// they are gone.
//
// An instance without hooks and followers has no stream, and its endpoint no observer.
package events
