package realtime

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/channels"
)

// grant is what a client has presented: a token, one of Config.Keys, or nothing where nothing is
// needed. For the last two it is the zero grant.
type grant struct {
	token  *auth.Token // nil: a key, or nothing
	digest [sha256.Size]byte
}

// ended reports whether the token has expired.
func (g *grant) ended(now time.Time) bool {
	return g.token != nil && !g.token.Ends.IsZero() && !now.Before(g.token.Ends)
}

// refusal is why a token is not accepted, in Supabase's words.
type refusal struct {
	code    string // precedes the message in the answer to a join
	message string
	ending  string // the system message of a channel that got such a new token; "": message
	status  int    // of HTTP
}

func (r *refusal) endMessage() string {
	if r.ending != "" {
		return r.ending
	}
	return r.message
}

var (
	noToken     = &refusal{"MalformedJWT", "API key is missing", "", http.StatusUnauthorized}
	badToken    = &refusal{"MalformedJWT", "The token provided is not a valid JWT", "", http.StatusUnauthorized}
	noClaims    = &refusal{"InvalidJWTToken", "Fields `role` and `exp` are required in JWT", "", http.StatusUnauthorized}
	badSigner   = &refusal{"JwtSignatureError", "Failed to validate JWT signature", ":signature_error", http.StatusUnauthorized}
	noSigner    = &refusal{"JwtSignerError", "Failed to generate JWT signer, check your JWT secret or JWKS configuration", "", http.StatusServiceUnavailable}
	refusalsFor = map[auth.Reason]*refusal{
		auth.Missing: noToken, auth.Malformed: badToken, auth.Oversized: badToken, auth.MissingClaim: noClaims,
		auth.BadAlgorithm: badSigner, auth.UnknownKey: badSigner, auth.BadSignature: badSigner, auth.NoKeys: noSigner,
	}
)

// expired returns the refusal for a token that has expired.
func expired(at, now time.Time) *refusal {
	seconds := max(0, int64(now.Sub(at)/time.Second))
	return &refusal{"InvalidJWTToken", fmt.Sprintf("Token has expired %d seconds ago", seconds), "", http.StatusUnauthorized}
}

// verify returns what a token or key grants. It may wait for keys.
func (l *logic) verify(ctx context.Context, text string) (grant, *refusal) {
	v := l.verifier()
	if v == nil || slices.Contains(l.config.Load().Keys, text) {
		return grant{}, nil
	}
	token, err := v.Verify(ctx, text)
	if err == nil {
		return grant{token, sha256.Sum256([]byte(text))}, nil
	}
	var wrong *auth.RefusedError
	if !errors.As(err, &wrong) {
		return grant{}, badToken
	}
	if wrong.Reason == auth.Expired {
		return grant{}, expired(expiryIn(text), time.Now())
	}
	if r := refusalsFor[wrong.Reason]; r != nil {
		return grant{}, r
	}
	return grant{}, &refusal{"InvalidJWTToken", "The token is not valid here: " + string(wrong.Reason), "", http.StatusUnauthorized}
}

// expiryIn returns the exp of a JSON Web Token whose signature was verified.
func expiryIn(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) < 2 {
		return time.Now() // a Phoenix.Token
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return time.Now()
	}
	return time.Unix(int64(claims.Exp), 0)
}

// grantOfJoin returns what a join comes with: its own token, or else that of the connection.
func (l *logic) grantOfJoin(ctx context.Context, client *client, j params) (grant, *refusal) {
	if l.verifier() == nil {
		return grant{}, nil
	}
	g := client.first
	if j.hasToken {
		var ref *refusal
		if g, ref = l.grantOf(ctx, client, j.token); ref != nil {
			return g, ref
		}
	}
	if now := time.Now(); g.ended(now) {
		return g, expired(g.token.Expires, now)
	}
	return g, nil
}

// grantOf is verify, except that it remembers the client's latest tokens: clients send the same
// token on each of their channels.
func (l *logic) grantOf(ctx context.Context, client *client, text string) (grant, *refusal) {
	digest := sha256.Sum256([]byte(text))
	if client.first.token != nil && client.first.digest == digest {
		return client.first, nil
	}
	if last := client.last.Load(); last != nil && last.digest == digest {
		return *last, nil
	}
	if text == "" {
		return grant{}, badToken
	}
	g, ref := l.verify(ctx, text)
	if ref == nil && g.token != nil {
		client.last.Store(&g)
	}
	return g, ref
}

// accessToken takes a client's new token. It is never answered, nor relayed to other clients.
func (l *logic) accessToken(c *channels.Context, p channels.Payload) (channels.Reply, error) {
	text, ok := payloadOf(p).text("access_token")
	if !ok || strings.HasPrefix(text, apiKeyPrefix) || l.verifier() == nil {
		return none, nil
	}
	s := sessionKey.Get(c)
	if s.grant.token != nil && s.grant.digest == sha256.Sum256([]byte(text)) {
		return none, nil
	}
	g, ref := l.grantOf(c, clientKey.Get(c.Socket()), text)
	if now := time.Now(); ref == nil && g.ended(now) {
		ref = expired(g.token.Expires, now)
	}
	if ref != nil {
		return none, l.shutdown(c, ref.endMessage())
	}
	s.grant = g
	if s.private {
		if s.rights = l.rightsTo(c, g); !s.rights.Read {
			return none, l.shutdown(c, mayNotRead(c))
		}
	}
	l.scheduleExpiry(c, s)
	return none, nil
}

// expiry is sent to a channel when its token expires.
type expiry struct{}

func (l *logic) scheduleExpiry(c *channels.Context, s *session) {
	if s.expiry != nil {
		s.expiry.Stop()
		s.expiry = nil
	}
	if t := s.grant.token; t != nil && !t.Ends.IsZero() {
		s.expiry = c.SendAfter(min(time.Until(t.Ends), patience), expiry{})
	}
}

// patience bounds how long a timer sleeps, because tokens expire by the wall clock, which may
// be set. Supabase looks as often (realtime_channel.ex, @confirm_token_ms_interval).
const patience = 5 * time.Minute

// expire ends a channel whose token has expired; its socket stays.
func (l *logic) expire(c *channels.Context, _ expiry) error {
	s := sessionKey.Get(c)
	if now := time.Now(); s.grant.ended(now) {
		return l.shutdown(c, expired(s.grant.token.Expires, now).message)
	}
	l.scheduleExpiry(c, s)
	return nil
}
