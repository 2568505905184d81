// Package packet is the protocol of raw TCP: the messages of a WebSocket without
// HTTP, masks and fragments. docs/tcp.md specifies it for those who write clients.
//
// It is fed with bytes, and has no I/O and no clock. A [Decoder] reports to a
// websocket.Handler, so that a connection of either kind is handled by the same code.
package packet
