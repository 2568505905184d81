// Package admission decides who may connect. A [Gate] counts the connections of an
// endpoint against its limits, in total and by client address. The rest are the
// rules of a handshake: whose word about a client's address counts ([Proxies]),
// which pages may connect ([Origin]), and which subprotocol is spoken
// ([Subprotocols]). A client that is not let in gets a [Refusal].
//
// The package does no I/O. The time is passed in.
package admission
