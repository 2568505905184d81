package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// jwtVerifier verifies JSON Web Tokens.
type jwtVerifier struct {
	keys    []verifyingKey
	remote  *remoteKeys // nil without a JWKS
	parser  *jwt.Parser
	methods []string // algorithms that some key is for
}

// verifyingKey is a decoded [Key].
type verifyingKey struct {
	id, algorithm string
	key           any
}

// newJWTVerifier returns a verifier for Options that have been checked.
func newJWTVerifier(o *Options, remote *remoteKeys) (*jwtVerifier, error) {
	j := &jwtVerifier{remote: remote}
	for _, k := range o.Keys {
		key, err := k.verifying()
		if err != nil {
			return nil, fmt.Errorf("auth: key %q %w", k.ID, err)
		}
		j.keys = append(j.keys, verifyingKey{k.ID, k.Algorithm, key})
		j.methods = append(j.methods, k.Algorithm)
	}
	if remote != nil {
		j.methods = append(j.methods, remote.algorithms...)
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods(j.methods), jwt.WithJSONNumber(), jwt.WithStrictDecoding(),
		jwt.WithLeeway(time.Duration(o.Leeway)), jwt.WithTimeFunc(time.Now),
	}
	if !o.NoExpiry {
		options = append(options, jwt.WithExpirationRequired())
	}
	if o.Issuer != "" {
		options = append(options, jwt.WithIssuer(o.Issuer))
	}
	if len(o.Audience) > 0 {
		options = append(options, jwt.WithAudience(o.Audience...))
	}
	j.parser = jwt.NewParser(options...)
	return j, nil
}

// verify returns the claims and the expiry, which is zero if there is none.
func (j *jwtVerifier) verify(ctx context.Context, token string) (Claims, time.Time, *RefusedError) {
	claims := jwt.MapClaims{}
	t, err := j.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) { return j.keysFor(ctx, t) })
	if err != nil {
		return nil, time.Time{}, j.refusal(t, err)
	}
	// iat must be a time, but may be in the future: RFC 7519, 4.1.6, defines it
	// for the age of a token, not for its validity.
	if _, err := claims.GetIssuedAt(); err != nil {
		return nil, time.Time{}, refused(Malformed, "iat is not a time")
	}
	expires, ok := expiryOf(claims)
	if !ok {
		return nil, time.Time{}, refused(Malformed, "exp is not a time")
	}
	return Claims(claims), expires, nil
}

// maxExpiry is the year 9999, in seconds.
const maxExpiry = 253_402_300_799

// expiryOf returns the exp of claims, zero if there is none. golang-jwt accepts
// any number, and converts those that do not fit into an int64 to arbitrary
// times.
func expiryOf(c jwt.MapClaims) (expires time.Time, ok bool) {
	v, stated := c["exp"]
	if !stated {
		return time.Time{}, true
	}
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := n.Float64()
	if err != nil || seconds < 0 || seconds > maxExpiry {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(seconds * 1000)), true
}

// keysFor returns the keys that may have signed a token. The algorithm that the
// token names selects keys, but never how a key is used.
func (j *jwtVerifier) keysFor(ctx context.Context, t *jwt.Token) (any, error) {
	if _, critical := t.Header["crit"]; critical { // RFC 7515, 4.1.11: none is supported
		return nil, refused(Malformed, "the header has crit")
	}
	id, named := "", false
	if v, ok := t.Header["kid"]; ok {
		if id, named = v.(string); !named {
			return nil, refused(Malformed, "kid is not a string")
		}
	}
	algorithm := t.Method.Alg()
	var set jwt.VerificationKeySet
	for _, k := range j.keys {
		if k.algorithm == algorithm && (k.id == "" || !named || k.id == id) {
			set.Keys = append(set.Keys, k.key)
		}
	}
	if j.remote != nil && slices.Contains(j.remote.algorithms, algorithm) {
		found, ref := j.remote.find(ctx, id, algorithm)
		if ref != nil && len(set.Keys) == 0 {
			return nil, ref
		}
		for _, key := range found {
			set.Keys = append(set.Keys, key)
		}
	}
	if len(set.Keys) == 0 {
		return nil, refused(UnknownKey, fmt.Sprintf("kid %.64q, algorithm %s", id, algorithm))
	}
	return set, nil
}

// refusal translates an error of golang-jwt. t is nil if the token could not be
// parsed.
func (j *jwtVerifier) refusal(t *jwt.Token, err error) *RefusedError {
	var own *RefusedError
	switch {
	case errors.As(err, &own):
		return own
	case t == nil || errors.Is(err, jwt.ErrTokenMalformed):
		return refused(Malformed, "")
	case t.Method == nil || !slices.Contains(j.methods, t.Method.Alg()):
		return refused(BadAlgorithm, fmt.Sprintf("%.16q", fmt.Sprint(t.Header["alg"])))
	case errors.Is(err, jwt.ErrTokenSignatureInvalid):
		return refused(BadSignature, "")
	}
	for _, class := range []struct {
		err    error
		reason Reason
	}{
		{jwt.ErrTokenExpired, Expired},
		{jwt.ErrTokenNotValidYet, NotYetValid},
		{jwt.ErrTokenInvalidAudience, WrongAudience}, {jwt.ErrTokenInvalidIssuer, WrongIssuer},
	} {
		if errors.Is(err, class.err) {
			return refused(class.reason, "")
		}
	}
	if errors.Is(err, jwt.ErrTokenRequiredClaimMissing) {
		return refused(MissingClaim, "exp, iss or aud")
	}
	return refused(Malformed, "a claim is not of its type")
}
