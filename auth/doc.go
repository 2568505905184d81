// Package auth lets clients in by signed tokens: JSON Web Tokens, with keys of
// one's own or from a JWKS server, and the tokens of Phoenix.Token, so that an
// application that signs them already need not change.
//
// A [Verifier] is made from [Options] and given to a socket:
//
//	verifier, err := auth.New(auth.Options{
//		Keys: []auth.Key{{Algorithm: "HS256", Secret: secret}},
//	}, &log)
//	…
//	endpoint.Socket("/socket", verifier.Protect(channels.SocketOptions{}), room)
//
// The token's claims give the socket its id and its assigns, and say which
// topics may be joined and published to. A socket ends with its token, unless its
// client has pushed a new one before. docs/auth.md is the guide.
package auth
