package auth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/logging"
)

// Verifier admits clients by their tokens. Its methods are safe from any
// goroutine.
type Verifier struct {
	// Static after New.
	options  Options
	log      *logging.Log
	jwt      *jwtVerifier     // nil without keys and JWKS
	phoenix  *phoenixVerifier // nil without PhoenixToken
	socketID template
	join     rule
	publish  rule

	revocations *Revocations // nil: nothing can be revoked
	space       string       // of revocations

	expiry *expiry
}

// New returns a verifier; call Close when it is no longer needed. The keys of a
// JWKS are fetched in the background: a token that arrives before them waits
// for up to 5 s and is then refused with the reason [NoKeys]. log gets the
// reasons of refusals at level warn, at most ten a second, and never a token;
// nil logs nothing.
func New(o Options, log *zerolog.Logger) (*Verifier, error) {
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("auth: %w", err)
	}
	v := &Verifier{options: o.withDefaults(), log: logging.NewLog(log)}
	v.expiry = &expiry{warning: time.Duration(v.options.Warning)}
	if err := v.readRules(); err != nil {
		return nil, err
	}
	if p := o.PhoenixToken; p != nil {
		var err error
		if v.phoenix, err = newPhoenixVerifier(*p, &v.options); err != nil {
			return nil, err
		}
	}
	if err := v.readKeys(logging.OrStderr(log)); err != nil {
		return nil, err
	}
	return v, nil
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

func (v *Verifier) readKeys(log zerolog.Logger) (err error) {
	var remote *remoteKeys
	if j := v.options.JWKS; j != nil {
		remote = newRemoteKeys(*j, log)
	}
	if len(v.options.Keys) == 0 && remote == nil {
		return nil
	}
	if v.jwt, err = newJWTVerifier(&v.options, remote); err != nil && remote != nil {
		remote.close()
	}
	return err
}

// Close stops fetching keys. Sockets that the verifier has admitted are still
// closed when their tokens expire.
func (v *Verifier) Close() {
	v.log.Flush()
	if v.jwt != nil && v.jwt.remote != nil {
		v.jwt.remote.close()
	}
}

// Token is a valid token and what it permits.
type Token struct {
	Claims   Claims
	Expires  time.Time // zero: never
	Ends     time.Time // Expires and Options.Leeway; zero: never
	SocketID string
	// Join and Publish are patterns of topics, with the claims filled in. They are for
	// display: a claim may contain a * that is not a wildcard. MayJoin and MayPublish
	// tell the two apart.
	Join, Publish []string

	join, publish []topicList
	only          *topicList
}

// MayJoin reports whether the token permits joining a topic.
func (t *Token) MayJoin(topic string) bool { return t.permits(topic) && anyMatches(t.join, topic) }

// MayPublish reports whether the token permits pushing events to a topic.
func (t *Token) MayPublish(topic string) bool {
	return t.permits(topic) && anyMatches(t.publish, topic)
}

// Only returns the patterns of the topics that the token is limited to, and whether it
// is limited.
func (t *Token) Only() (patterns []string, limited bool) {
	if t.only == nil {
		return nil, false
	}
	return t.only.texts(), true
}

func (t *Token) permits(topic string) bool { return t.only == nil || t.only.match(topic) }

func anyMatches(lists []topicList, topic string) bool {
	return slices.ContainsFunc(lists, func(l topicList) bool { return l.match(topic) })
}

// Verify verifies a token like Connect. It returns a [*RefusedError] for an
// invalid token. It may wait for keys, until ctx is done and at most 5 s.
func (v *Verifier) Verify(ctx context.Context, token string) (*Token, error) {
	g, ref := v.grant(ctx, token)
	if ref != nil {
		return nil, ref
	}
	return &Token{
		Claims: g.claims, Expires: g.expires, Ends: g.ends, SocketID: g.socketID,
		Join:    slices.Concat(v.join.fixed, g.join).texts(),
		Publish: slices.Concat(v.publish.fixed, g.publish).texts(),
		join:    []topicList{v.join.fixed, g.join}, publish: []topicList{v.publish.fixed, g.publish}, only: g.only,
	}, nil
}

// verify verifies a token, and returns its claims and its expiry, zero for
// never.
func (v *Verifier) verify(ctx context.Context, token string) (Claims, time.Time, *RefusedError) {
	switch {
	case token == "":
		return nil, time.Time{}, refused(Missing, "")
	case len(token) > v.options.MaxBytes:
		return nil, time.Time{}, refused(Oversized, fmt.Sprintf("%d bytes, more than %d", len(token), v.options.MaxBytes))
	case strings.ContainsAny(token, "\r\n"): // encoding/base64 would skip them
		return nil, time.Time{}, refused(Malformed, "a line break")
	case isPhoenixToken(token):
		if v.phoenix == nil {
			return nil, time.Time{}, refused(BadAlgorithm, "a Phoenix.Token, for which there is no phoenix_token")
		}
		return v.phoenix.verify(token)
	case v.jwt == nil:
		return nil, time.Time{}, refused(BadAlgorithm, "no Phoenix.Token, and there are no keys for others")
	}
	return v.jwt.verify(ctx, token)
}

// grant is what a token permits. It does not change.
type grant struct {
	claims        Claims
	subject       string
	socketID      string
	expires       time.Time // zero: never
	ends          time.Time // expires and the leeway
	join, publish topicList // in addition to the verifier's fixed ones
	digest        [sha256.Size]byte
	only          *topicList // permits only these of the above; nil: all of them
}

// grant verifies a token and reads what it permits.
func (v *Verifier) grant(ctx context.Context, token string) (*grant, *RefusedError) {
	claims, expires, ref := v.verify(ctx, token)
	if ref != nil {
		return nil, ref
	}
	g := &grant{claims: claims, expires: expires, digest: sha256.Sum256([]byte(token))}
	if !expires.IsZero() {
		g.ends = expires.Add(time.Duration(v.options.Leeway))
	}
	g.subject, _ = claims.Text("sub")
	if v.revokes(g) {
		return nil, refused(RevokedToken, "")
	}
	var missing string
	if g.socketID, missing = v.socketID.expand(claims); missing != "" {
		return nil, refused(MissingClaim, missing+", of which the socket's id is made")
	}
	if g.join, ref = v.join.topicsFor(claims); ref != nil {
		return nil, ref
	}
	if g.publish, ref = v.publish.topicsFor(claims); ref != nil {
		return nil, ref
	}
	return g, g.limitTo(v.options.OnlyClaim)
}

// limitTo reads the claim that limits the token to topics.
func (g *grant) limitTo(claim string) *RefusedError {
	if v, stated := g.claims.Lookup(claim); !stated || v == nil {
		return nil
	}
	r := rule{claim: claim}
	only, ref := r.topicsFor(g.claims)
	g.only = &only
	return ref
}

// permits reports whether a topic is within what the token is limited to.
func (g *grant) permits(topic string) bool { return g.only == nil || g.only.match(topic) }

// takes reports whether Options.From contains from.
func (v *Verifier) takes(from string) bool { return slices.Contains(v.options.From, from) }
