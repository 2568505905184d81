package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/mycelium-rt/mycelium/channels"
)

// claimsAssign is the name of the assign with all claims.
const claimsAssign = "claims"

// Protect returns a copy of o for sockets that need a token. The token is
// verified first; then o.Connect runs, if there is one, and finds the socket's
// id and assigns set. If verifying takes more than a hash, it is done off the
// loop, whatever o.ConnectOnLoop says.
func (v *Verifier) Protect(o channels.SocketOptions) channels.SocketOptions {
	next := o.Connect
	o.AuthToken = o.AuthToken || v.takes(FromAuthToken)
	o.ConnectOnLoop = (o.ConnectOnLoop || next == nil) && v.quick()
	o.ReuseRequest = o.ReuseRequest || next == nil
	o.Connect = func(ctx context.Context, s *channels.Socket, r *channels.Request) error {
		if err := v.Connect(ctx, s, r); err != nil || next == nil {
			return err
		}
		return next(ctx, s, r)
	}
	return o
}

// quick reports whether verifying a token never takes more than a hash.
func (v *Verifier) quick() bool {
	if v.jwt == nil {
		return true
	}
	return v.jwt.remote == nil && !slices.ContainsFunc(v.options.Keys, func(k Key) bool { return hmacBytes[k.Algorithm] == 0 })
}

// Connect is a channels.SocketOptions.Connect that refuses clients without a
// valid token. It gives the socket its id, its assigns and its guard. Tokens
// that come in phoenix.js's authToken need the option AuthToken;
// [Verifier.Protect] sets it.
func (v *Verifier) Connect(ctx context.Context, s *channels.Socket, r *channels.Request) error {
	token, ref := v.tokenOf(r)
	if ref != nil {
		return v.refuseToken(r, ref)
	}
	g, ref := v.grant(ctx, token)
	if ref != nil {
		return v.refuseToken(r, ref)
	}
	if g.socketID != "" {
		s.SetID(g.socketID)
	}
	for assign, claim := range v.options.Assigns {
		if value, ok := g.claims.Lookup(claim); ok {
			s.Assign(assign, value)
		}
	}
	s.Assign(claimsAssign, g.claims)
	s.SetGuard(newSession(v, s, g))
	return nil
}

func (v *Verifier) refuseToken(r *channels.Request, ref *RefusedError) error {
	v.log.Warn("token refused").Str("reason", string(ref.Reason)).Str("detail", ref.Detail).
		Addr("peer", r.RemoteAddr).Str("path", r.URL.Path).Write()
	if ref.Reason == NoKeys { // the token may be valid
		return errors.Join(ref, &channels.RefusedError{Status: http.StatusServiceUnavailable, RetryAfter: maxKeyWait})
	}
	return ref
}

// tokenOf returns the token of a client. A client that sends two different ones
// may want a proxy to see one identity and this server another.
func (v *Verifier) tokenOf(r *channels.Request) (token string, ref *RefusedError) {
	var sent []string
	if v.takes(FromAuthToken) {
		if t, ok := r.AuthToken(); ok {
			sent = append(sent, t)
		}
	}
	if v.takes(FromParams) {
		query, _ := url.ParseQuery(r.URL.RawQuery) // malformed queries have been refused before
		sent = append(sent, query[v.options.Param]...)
	}
	for _, t := range sent {
		switch {
		case t == "" || t == token:
		case token == "":
			token = t
		default:
			return "", refused(Ambiguous, "")
		}
	}
	if token == "" {
		return "", refused(Missing, "")
	}
	return token, nil
}

// sameToken compares in constant time.
func (g *grant) sameToken(digest [32]byte) bool {
	return subtle.ConstantTimeCompare(g.digest[:], digest[:]) == 1
}
