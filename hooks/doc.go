// Package hooks lets a back end, in any language, decide what clients may do: who connects, who joins a topic, what
// happens to an event, and whether a connection may go on when it expires. It sends signed requests over HTTP and does
// what the answers say; docs/backends.md describes both.
//
// The server makes a [Decider] for each instance that has hooks. A program that embeds channels makes its own:
//
//	d, err := hooks.New(hooks.Options{Hooks: []hooks.Hook{{
//		URL: "https://app.example.com/mycelium", Secret: secret, On: []string{"connect", "join"},
//	}}})
//	endpoint.Socket("/socket", d.Protect(channels.SocketOptions{}), room)
//
// A slow back end delays only the clients that it is asked about. While it does not answer, [Hook].WhileAway decides.
//
// A back end in Go checks requests with [Verify]. examples/backends has back ends in Python, Node.js and PHP.
package hooks
