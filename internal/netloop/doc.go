// Package netloop moves bytes between sockets and handlers. It knows descriptors, deadlines and queues, and nothing of
// WebSockets or topics.
//
// A [Group] has one [Loop] per core. A loop owns its connections: one goroutine reads them, runs their handlers,
// writes what they queued and closes them, so that nothing a connection owns needs a lock. On Linux a connection is a
// non-blocking descriptor from accept4(2) in easygo's epoll: it has no goroutine, no timer and no buffer of its own.
// Where io_uring is allowed, a loop uses it to send to many of them with one system call ([Options.IOUring]).
// Everywhere else, with [Options.Portable], and for TLS, a connection is a net.Conn with a reading goroutine, and a
// writing one while frames wait. Both look the same to a [Handler].
//
// # Turns
//
// A loop works in turns: take the sockets that have bytes, run the tasks of the inbox, fire deadlines, then write
// what was queued, everything that waits for one receiver in one write. [Conn.Send] therefore writes nothing by itself.
//
// Those who share the loops are [Tenant]s. A turn has a bounded portion of each kind of work, and goes round the tenants
// that have some; what is over comes in the next turn.
//
// # Goroutines
//
// Methods say so when they may be called from any goroutine. All others belong to the loop: call them from a
// [Handler], or from a [Task] given to [Lane.Post]. A callback must not block. One that panics or ends its
// goroutine ends its connection and nothing else: see rescue.go.
//
// Lock order: Group.mu or Tenant.mu before Loop.mu; none is held during a callback or a system call on a socket.
package netloop
