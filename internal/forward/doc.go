// Package forward takes clients to the node of a cluster that can serve them: the
// one that runs an instance, or that has a session of long polling.
//
// Nodes reach each other at a port of their own, by TLS with a key that follows
// from the cluster's secret. What goes there is what the client has sent, HTTP/1.1,
// with one field more (see [Claim]) that says who the client is. So the other node
// serves it as if the client had connected there. It never forwards it again.
//
// A WebSocket has a connection between the nodes for itself, from its handshake on;
// package front relays the bytes. All other requests share connections, by
// [Elsewhere.Relay] and, for polls, [Elsewhere.RelayPoll].
package forward
