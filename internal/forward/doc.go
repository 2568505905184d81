// Package forward takes clients to the node of a cluster that can serve them: the
// one that runs an instance, or that has a session of long polling.
//
// Nodes reach each other at a port of their own, over TLS with keys that are derived
// from the cluster's secret. There they send what the client has sent, as HTTP/1.1,
// with one additional header field (see [Claim]) that says who the client is. So the
// other node serves the client as if it had connected there. A request is never
// forwarded twice.
//
// A WebSocket has its own connection between the nodes, from its handshake on;
// package front relays the bytes. All other requests share connections: see
// [Elsewhere.Relay] and, for polls, [Elsewhere.RelayPoll].
package forward
