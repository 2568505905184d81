// Package bench is the load generator of mycelium bench: it puts load on any
// server of Phoenix Channels, version 2 over WebSocket, and reports what that
// cost.
//
// Child processes (the same program, started again) hold the connections, each
// with one thread and one epoll, so that the generator costs less than the
// server and is not bounded by limits on a single process. Parent and children
// share memory, the board; the parent only steers and adds up. Linux only.
//
// A program that calls [Run] must call [Worker] at the start of main.
package bench
