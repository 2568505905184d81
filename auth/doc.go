// Package auth admits clients by signed tokens: JSON Web Tokens, with keys of
// your own or from a JWKS server, and tokens of Phoenix.Token, so that an
// application that signs these need not change.
//
// A [Verifier] is made from [Options] and given to a socket:
//
//	verifier, err := auth.New(auth.Options{
//		Keys: []auth.Key{{Algorithm: "HS256", Secret: secret}},
//	}, &log)
//	…
//	endpoint.Socket("/socket", verifier.Protect(channels.SocketOptions{}), room)
//
// The token's claims determine the socket's id and assigns, and the topics that
// it may join and publish to. A socket is closed when its token expires, unless
// its client has pushed a new one before. docs/auth.md is the guide.
package auth
