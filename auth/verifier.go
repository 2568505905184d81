package auth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"
)

// Verifier lets clients in by their tokens. Its methods are safe from any
// goroutine.
type Verifier struct {
	// Static after New.
	options  Options
	log      *zerolog.Logger
	jwt      *jwtVerifier     // nil without keys and JWKS
	phoenix  *phoenixVerifier // nil without PhoenixToken
	socketID template
	join     rule
	publish  rule

	expiry expiry
}

// New makes a verifier; Close ends it. It fetches the keys of a JWKS, for as
// long as JWKS.Timeout for each URL, but does not fail where a server does: until
// that has answered, its tokens are refused. log, if not nil, gets at level warn
// why tokens are refused, and never a token.
func New(o Options, log *zerolog.Logger) (*Verifier, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if log == nil {
		nop := zerolog.Nop()
		log = &nop
	}
	v := &Verifier{options: o.withDefaults(), log: log}
	v.expiry.warning = time.Duration(v.options.Warning)
	if err := v.readRules(); err != nil {
		return nil, err
	}
	if p := o.PhoenixToken; p != nil {
		var err error
		if v.phoenix, err = newPhoenixVerifier(*p, &v.options); err != nil {
			return nil, err
		}
	}
	return v, v.readKeys()
}

func (v *Verifier) readRules() (err error) {
	o := &v.options
	if v.socketID, err = parseTemplate(o.SocketID); err != nil {
		return err
	}
	if v.join, err = newRule(o.Join, o.JoinClaim); err != nil {
		return err
	}
	v.publish, err = newRule(o.Publish, o.PublishClaim)
	return err
}

func (v *Verifier) readKeys() (err error) {
	var remote *remoteKeys
	if j := v.options.JWKS; j != nil {
		if remote, err = newRemoteKeys(*j, v.log); err != nil {
			return err
		}
	}
	if len(v.options.Keys) > 0 || remote != nil {
		v.jwt, err = newJWTVerifier(&v.options, remote)
	}
	return err
}

// Close ends the verifier's timer and what fetches keys. Sockets that it has let
// in are not ended with their tokens any more.
func (v *Verifier) Close() {
	v.expiry.close()
	if v.jwt != nil && v.jwt.remote != nil {
		v.jwt.remote.close()
	}
}

// Token is a token that was verified.
type Token struct {
	Claims  Claims
	Expires time.Time // zero: never
}

// Verify verifies a token. It returns a [*RefusedError] for one that does not
// count. It may fetch keys until ctx is done.
func (v *Verifier) Verify(ctx context.Context, token string) (*Token, error) {
	t, ref := v.verify(ctx, token)
	if ref != nil {
		return nil, ref
	}
	return t, nil
}

func (v *Verifier) verify(ctx context.Context, token string) (*Token, *RefusedError) {
	var claims Claims
	var expires time.Time
	var ref *RefusedError
	switch {
	case token == "":
		return nil, refused(Missing, "")
	case len(token) > v.options.MaxBytes:
		return nil, refused(Oversized, fmt.Sprintf("%d bytes, at most %d are read", len(token), v.options.MaxBytes))
	case isPhoenixToken(token):
		if v.phoenix == nil {
			return nil, refused(BadAlgorithm, "a Phoenix.Token, for which there is no phoenix_token")
		}
		claims, expires, ref = v.phoenix.verify(token)
	case v.jwt == nil:
		return nil, refused(BadAlgorithm, "no Phoenix.Token, and there are no keys for others")
	default:
		claims, expires, ref = v.jwt.verify(ctx, token)
	}
	if ref != nil {
		return nil, ref
	}
	return &Token{claims, expires}, nil
}

// grant is what a token allows. It does not change.
type grant struct {
	claims        Claims
	subject       string
	socketID      string
	ends          time.Time // zero: never
	join, publish topics    // besides the verifier's fixed ones
	digest        [sha256.Size]byte
}

// grant verifies a token and reads what it allows.
func (v *Verifier) grant(ctx context.Context, token string) (*grant, *RefusedError) {
	t, ref := v.verify(ctx, token)
	if ref != nil {
		return nil, ref
	}
	g := &grant{claims: t.Claims, digest: sha256.Sum256([]byte(token))}
	if !t.Expires.IsZero() {
		g.ends = t.Expires.Add(time.Duration(v.options.Leeway))
	}
	g.subject, _ = t.Claims.Text("sub")
	var missing string
	if g.socketID, missing = v.socketID.expand(t.Claims); missing != "" {
		return nil, refused(MissingClaim, missing+", of which the socket's id is made")
	}
	if g.join, ref = v.join.topics(t.Claims); ref != nil {
		return nil, ref
	}
	g.publish, ref = v.publish.topics(t.Claims)
	return g, ref
}

// takes tells whether a token may come from somewhere.
func (v *Verifier) takes(from string) bool { return slices.Contains(v.options.From, from) }
