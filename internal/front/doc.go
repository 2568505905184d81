// Package front turns the bytes of a new connection into one of three things: a
// WebSocket handshake that was admitted, which opens the socket it was for; a TLS
// handshake, after which the connection begins anew; or requests for net/http.
//
// It knows the sockets of an endpoint as [Mount] and [Handshake], and nothing of
// what they do with their connections.
package front
