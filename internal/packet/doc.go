// Package packet implements the protocol of raw TCP: the messages of a WebSocket without
// HTTP, masking and fragmentation. docs/tcp.md specifies it for those who write clients.
//
// It takes bytes and returns bytes, and has no I/O and no clock. A [Decoder] calls a
// websocket.Handler, so the same code handles connections of both kinds.
package packet
