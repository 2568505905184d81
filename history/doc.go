// Package history keeps the last messages of topics in memory, so that clients that
// were disconnected are sent what they missed.
//
// A [Store] bounds the memory of a process. A [Space] has the topics of one
// endpoint, and [Rule]s that say what is recorded. The messages of a topic form a
// ring: the oldest are dropped when a rule's number, age or bytes, or the store's
// memory, are exceeded.
//
// Each message has the identifier of a log, that of the store which recorded it, and
// a number in that log. A [Position] has, for each log, the number of the last message
// that a client has. Unlike an offset, it needs no sequencer and no agreement between
// nodes, and yet it tells every node what the client has.
//
// Package history has no network and no clients: channels records broadcasts, and
// replays them to clients that come back.
package history
