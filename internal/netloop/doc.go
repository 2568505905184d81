// Package netloop moves bytes between sockets and handlers. It knows descriptors, deadlines and queues, but nothing of
// WebSockets or topics.
//
// A [Group] has one [Loop] per core. A loop owns its connections: one goroutine reads them, runs their handlers, writes
// what they queued and closes them, so nothing that a connection owns needs a lock. On Linux a connection is a
// non-blocking descriptor from accept4(2) in easygo's epoll: it has no goroutine, no timer and no buffer of its own.
// A TLS connection over a [Wire] is one too, once its handshake, which has a goroutine, is over: the loop moves the bytes
// of its tls.Conn and lends it buffers. Where io_uring is allowed, a loop uses it to send to many connections with one
// system call ([Options.IOUring]). Elsewhere, and with [Options.Portable], a connection is a net.Conn with a reading
// goroutine, and a writing goroutine while frames wait. All look the same to a [Handler].
//
// # Turns
//
// A loop works in turns: it reads the sockets that have bytes, runs the tasks of the inbox, fires deadlines, and then
// writes what was queued, with one write for everything that waits for one receiver. So [Conn.Send] itself writes
// nothing.
//
// Users that share the loops are [Tenant]s. A turn does a bounded portion of each kind of work, visiting the tenants
// that have some; the rest is left for the next turn.
//
// # Goroutines
//
// Methods say so if they may be called from any goroutine. All others belong to the loop: call them from a [Handler],
// or from a [Task] given to [Lane.Post]. A callback must not block. A callback that panics or ends its goroutine ends
// its connection and nothing else: see rescue.go.
//
// Lock order: Group.mu or Tenant.mu before Loop.mu; none is held during a callback or a system call on a socket, except
// that Group.Close closes connections that no loop owns yet while it holds Group.mu.
package netloop
