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

// claimsAssign is the assign that has all claims.
const claimsAssign = "claims"

// Protect returns o for sockets that need a token: it is asked for first, then
// o.Connect runs, if there is one, and finds the id and the assigns. Where tokens
// take more than a hash to verify, it does so off the loop, whatever
// o.ConnectOnLoop says.
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

// quick tells that no token is verified by fetching keys or by more than a hash.
func (v *Verifier) quick() bool {
	if v.jwt == nil {
		return true
	}
	return v.jwt.remote == nil && !slices.ContainsFunc(v.options.Keys, func(k Key) bool { return hmacBytes[k.Algorithm] == 0 })
}

// Connect is a channels.SocketOptions.Connect that refuses clients without a
// good token. It gives the socket its id, its assigns and its guard. The options
// need AuthToken for tokens that come so; [Verifier.Protect] sees to that.
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
	if ref.Reason == NoKeys { // it may be a good token
		return errors.Join(ref, &channels.RefusedError{Status: http.StatusServiceUnavailable, RetryAfter: maxKeyWait})
	}
	return ref
}

// tokenOf finds the token of a client. One that sends two which differ may want
// to be seen as one by a proxy and as another here.
func (v *Verifier) tokenOf(r *channels.Request) (token string, ref *RefusedError) {
	var sent []string
	if v.takes(FromAuthToken) {
		if t, ok := r.AuthToken(); ok {
			sent = append(sent, t)
		}
	}
	if v.takes(FromParams) {
		query, _ := url.ParseQuery(r.URL.RawQuery) // what is malformed was refused before
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
