// Package bench is the load generator of mycelium bench: it drives any server
// of Phoenix Channels, version 2 over WebSocket, and reports what that cost.
//
// The connections are held by child processes (the program itself, started
// anew), each with one thread and one epoll, so that the generator costs less
// than the server and no limit on a single process bounds it. Parent and
// children share one piece of memory, the board; the parent only steers and
// counts together. Linux only.
//
// A program that calls [Run] has to call [Worker] first thing in main.
package bench
