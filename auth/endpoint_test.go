package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/internal/logging/logtest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// signers are private keys, made once.
var signers = sync.OnceValue(func() (s struct {
	rsa, rsaOther, rsaShort *rsa.PrivateKey
	ec, ec384               *ecdsa.PrivateKey
	ed                      ed25519.PrivateKey
}) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	var err error
	s.rsa, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	s.rsaOther, err = rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	s.rsaShort, err = rsa.GenerateKey(rand.Reader, 1024)
	must(err)
	s.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	s.ec384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	_, s.ed, err = ed25519.GenerateKey(rand.Reader)
	must(err)
	return s
})

func publicPEM(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

var secret = strings.Repeat("s3cret..", 8) // 64 bytes: enough for HS512

type claims = jwt.MapClaims

// soon is an exp that is far enough.
func soon() int64 { return time.Now().Add(time.Hour).Unix() }

func sign(t testing.TB, algorithm string, key any, header map[string]any, c claims) string {
	t.Helper()
	token := jwt.NewWithClaims(jwt.GetSigningMethod(algorithm), c)
	for k, v := range header {
		token.Header[k] = v
	}
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// forge puts a token together from parts that no library would sign.
func forge(header, payload string, signature []byte) string {
	e := base64.RawURLEncoding
	return e.EncodeToString([]byte(header)) + "." + e.EncodeToString([]byte(payload)) + "." + e.EncodeToString(signature)
}

// door is an endpoint whose socket needs a token, and what it logs.
type door struct {
	*channelstest.Endpoint
	verifier *Verifier
	log      *logBuffer
}

type logBuffer struct{ logtest.Buffer }

// await returns what was logged since the last call, once text is in it.
func (l *logBuffer) await(t testing.TB, text string) string {
	t.Helper()
	said := ""
	for deadline := time.Now().Add(waittest.Patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if said += l.Take(); strings.Contains(said, text) {
			return said
		}
	}
	t.Fatalf("the log does not say %q: %s", text, said)
	return ""
}

func openDoor(t testing.TB, o Options, chs ...*channels.Channel) *door {
	t.Helper()
	d := &door{log: new(logBuffer)}
	log := zerolog.New(d.log)
	v, err := New(o, &log)
	if err != nil {
		t.Fatal(err)
	}
	d.verifier, d.Endpoint = v, channelstest.Start(t, channels.Options{Logger: &log})
	t.Cleanup(v.Close)
	d.Socket("/socket", v.Protect(channels.SocketOptions{IdleTimeout: -1}), chs...)
	return d
}

func (d *door) tryConnect(t testing.TB, token string) error {
	t.Helper()
	c, err := channelstest.TryConnect(t, d.Endpoint, "/socket?token="+url.QueryEscape(token), nil)
	if err == nil {
		c.Close()
	}
	return err
}

// assertRefused fails unless the client is told nothing but 403, and the log
// says the reason but not the token.
func (d *door) assertRefused(t testing.TB, what, token string, reason Reason) {
	t.Helper()
	d.log.Take()
	err := d.tryConnect(t, token)
	var ref *channelstest.RefusedError
	if !errors.As(err, &ref) || ref.Status != http.StatusForbidden || ref.Body != "" {
		t.Errorf("%s: %v; want it refused with 403 and nothing else", what, err)
	}
	log := d.log.Take()
	// The verifier's own line is one of ten in a second, the endpoint's for
	// debugging one of a thousand.
	if !strings.Contains(log, `"reason":"`+string(reason)+`"`) && !strings.Contains(log, "token refused: "+string(reason)) {
		t.Errorf("%s: the log has no reason %q: %s", what, reason, log)
	}
	for _, part := range strings.Split(token, ".") {
		if len(part) > 8 && strings.Contains(log, part) {
			t.Errorf("%s: the log has a part of the token: %s", what, log)
		}
	}
}

// every is Options with a key of each kind.
func every(t testing.TB) Options {
	s := signers()
	return Options{
		Keys: []Key{
			{Algorithm: "HS256", Secret: secret}, {Algorithm: "HS512", Secret: secret, ID: "five"},
			{Algorithm: "RS256", PublicKey: publicPEM(t, s.rsa), ID: "rsa"}, {Algorithm: "PS384", PublicKey: publicPEM(t, s.rsa)},
			{Algorithm: "ES256", PublicKey: publicPEM(t, s.ec)}, {Algorithm: "ES384", PublicKey: publicPEM(t, s.ec384)},
			{Algorithm: "EdDSA", PublicKey: publicPEM(t, s.ed)},
		},
		PhoenixToken: &phoenixExample,
		Issuer:       "https://issuer.example", Audience: []string{"chat", "game"}, Join: []string{"*"}, Publish: []string{"*"},
	}
}

func goodClaims(more claims) claims {
	c := claims{"sub": "ada", "exp": soon(), "iss": "https://issuer.example", "aud": "chat"}
	for k, v := range more {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

func TestAccepted(t *testing.T) {
	s := signers()
	d := openDoor(t, every(t))
	now := time.Now().Unix()
	for name, token := range map[string]string{
		"HS256":               sign(t, "HS256", []byte(secret), nil, goodClaims(nil)),
		"HS512":               sign(t, "HS512", []byte(secret), map[string]any{"kid": "five"}, goodClaims(nil)),
		"HS512 without kid":   sign(t, "HS512", []byte(secret), nil, goodClaims(nil)),
		"RS256":               sign(t, "RS256", s.rsa, map[string]any{"kid": "rsa"}, goodClaims(nil)),
		"PS384":               sign(t, "PS384", s.rsa, nil, goodClaims(nil)),
		"ES256":               sign(t, "ES256", s.ec, nil, goodClaims(nil)),
		"ES384":               sign(t, "ES384", s.ec384, nil, goodClaims(nil)),
		"EdDSA":               sign(t, "EdDSA", s.ed, nil, goodClaims(nil)),
		"aud a list":          sign(t, "HS256", []byte(secret), nil, goodClaims(claims{"aud": []string{"x", "game"}})),
		"expired just now":    sign(t, "HS256", []byte(secret), nil, goodClaims(claims{"exp": now - 2})),
		"valid in a moment":   sign(t, "HS256", []byte(secret), nil, goodClaims(claims{"nbf": now + 2, "iat": now + 30})),
		"an embedded jwk":     sign(t, "HS256", []byte(secret), map[string]any{"jwk": map[string]any{"kty": "oct", "k": "AAAA"}}, goodClaims(nil)),
		"exp with a fraction": sign(t, "HS256", []byte(secret), nil, goodClaims(claims{"exp": float64(soon()) + 0.5})),
	} {
		if err := d.tryConnect(t, token); err != nil {
			t.Errorf("%s: %v: %s", name, err, d.log.Take())
		}
	}
	phoenix, err := phoenixExample.Sign("ada", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.tryConnect(t, phoenix); err != nil {
		t.Errorf("Phoenix.Token: %v", err)
	}
}

// The attacks that libraries for tokens have fallen to.
func TestAttacks(t *testing.T) {
	s := signers()
	d := openDoor(t, every(t))
	good := sign(t, "HS256", []byte(secret), nil, goodClaims(nil))
	payload, err := json.Marshal(goodClaims(nil))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	none := jwt.UnsafeAllowNoneSignatureType
	attacker := map[string]any{"kty": "oct", "k": base64.RawURLEncoding.EncodeToString([]byte("attacker's key, 32 bytes or more"))}
	hs := func(c claims) string { return sign(t, "HS256", []byte(secret), nil, goodClaims(c)) }
	now := time.Now()
	for name, c := range map[string]struct {
		token string
		want  Reason
	}{
		"nothing":       {"", Missing},
		"no token":      {"hello", Malformed},
		"two parts":     {parts[0] + "." + parts[1], Malformed},
		"four parts":    {good + ".x", Malformed},
		"five parts":    {good + ".x.y", Malformed},
		"not base64":    {parts[0] + ".§." + parts[2], Malformed},
		"no JSON":       {forge("{", string(payload), nil), Malformed},
		"claims a list": {forge(`{"alg":"HS256"}`, "[]", nil), Malformed},
		"oversized":     {hs(claims{"x": strings.Repeat("x", 8<<10)}), Oversized},

		"wrong key":              {sign(t, "HS256", []byte(strings.Repeat("x", 64)), nil, goodClaims(nil)), BadSignature},
		"the empty key":          {sign(t, "HS256", []byte{}, nil, goodClaims(nil)), BadSignature},
		"no signature":           {parts[0] + "." + parts[1] + ".", BadSignature},
		"a changed claim":        {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(payload), "ada", "eve", 1))) + "." + parts[2], BadSignature},
		"spare bits of a base64": {good[:len(good)-1] + string(good[len(good)-1]^1), Malformed},

		"a line break": {good[:len(good)-5] + "\n" + good[len(good)-5:], Malformed},

		"none":                   {sign(t, "none", none, nil, goodClaims(nil)), BadAlgorithm},
		"NONE":                   {forge(`{"alg":"NONE"}`, string(payload), nil), BadAlgorithm},
		"nOnE with a signature":  {forge(`{"alg":"nOnE"}`, string(payload), []byte("x")), BadAlgorithm},
		"no alg":                 {forge(`{}`, string(payload), nil), BadAlgorithm},
		"alg null":               {forge(`{"alg":null}`, string(payload), nil), BadAlgorithm},
		"an alg without a key":   {sign(t, "HS384", []byte(secret), nil, goodClaims(nil)), BadAlgorithm},
		"an alg without a hash":  {forge(`{"alg":"XS256"}`, string(payload), nil), BadAlgorithm},
		"the public key as HMAC": {sign(t, "HS256", []byte(publicPEM(t, s.rsa)), nil, goodClaims(nil)), BadSignature},
		"the same with its kid":  {sign(t, "HS256", []byte(publicPEM(t, s.rsa)), map[string]any{"kid": "rsa"}, goodClaims(nil)), BadSignature},
		"RS for PS":              {sign(t, "PS256", s.rsa, nil, goodClaims(nil)), BadAlgorithm},
		"another RSA key":        {sign(t, "RS256", s.rsaOther, map[string]any{"kid": "rsa"}, goodClaims(nil)), BadSignature},
		"an EC key for Ed":       {forge(`{"alg":"EdDSA"}`, string(payload), make([]byte, 64)), BadSignature},
		"psychic signature":      {forge(`{"alg":"ES256"}`, string(payload), make([]byte, 64)), BadSignature},

		"an unknown kid":  {sign(t, "RS256", s.rsa, map[string]any{"kid": "other"}, goodClaims(nil)), UnknownKey},
		"kid is a path":   {sign(t, "RS256", s.rsa, map[string]any{"kid": "../../dev/null"}, goodClaims(nil)), UnknownKey},
		"kid is SQL":      {sign(t, "HS512", []byte(""), map[string]any{"kid": "x' UNION SELECT 'k"}, goodClaims(nil)), UnknownKey},
		"kid is a number": {sign(t, "HS256", []byte(secret), map[string]any{"kid": 1}, goodClaims(nil)), Malformed},
		"crit":            {sign(t, "HS256", []byte(secret), map[string]any{"crit": []string{"exp"}}, goodClaims(nil)), Malformed},
		"crit b64":        {sign(t, "HS256", []byte(secret), map[string]any{"crit": []string{"b64"}, "b64": false}, goodClaims(nil)), Malformed},
		"an embedded jwk": {sign(t, "HS256", []byte("attacker's key, 32 bytes or more"), map[string]any{"jwk": attacker}, goodClaims(nil)), BadSignature},
		"a jku":           {sign(t, "RS256", s.rsaOther, map[string]any{"jku": "http://127.0.0.1:1/jwks.json"}, goodClaims(nil)), BadSignature},

		"expired":            {hs(claims{"exp": now.Unix() - 7}), Expired},
		"no exp":             {hs(claims{"exp": nil}), MissingClaim},
		"exp 0":              {hs(claims{"exp": 0}), Expired},
		"exp a text":         {hs(claims{"exp": "2999-01-01"}), Malformed},
		"exp negative":       {hs(claims{"exp": -1}), Expired},
		"exp in year 10,000": {hs(claims{"exp": 253_402_300_800}), Malformed},
		"not yet valid":      {hs(claims{"nbf": now.Unix() + 60}), NotYetValid},
		"iat is not a time":  {hs(claims{"iat": "now"}), Malformed},
		"another audience":   {hs(claims{"aud": "shop"}), WrongAudience},
		"audience of nobody": {hs(claims{"aud": []string{}}), MissingClaim},
		"no audience":        {hs(claims{"aud": nil}), MissingClaim},
		"another issuer":     {hs(claims{"iss": "https://issuer.example.evil"}), WrongIssuer},
		"no issuer":          {hs(claims{"iss": nil}), MissingClaim},

		"patterns are a number":    {hs(claims{"channels": claims{"join": 1}}), Malformed},
		"a pattern is a number":    {hs(claims{"channels": claims{"join": []any{1}}}), Malformed},
		"a pattern with a * in it": {hs(claims{"channels": claims{"publish": []string{"a*b"}}}), Malformed},
		"a pattern half a claim":   {hs(claims{"channels": claims{"publish": []string{"a:{sub"}}}), Malformed},
		"129 patterns":             {hs(claims{"channels": claims{"join": make([]string, maxPatterns+1)}}), Malformed},

		"forged ETF":        {"SFMyNTY.g3EDYQ.AAAA", BadSignature},
		"a compressed bomb": {signTerm(t, compressed(t, 3<<20, make([]byte, 3<<20)), "SFMyNTY"), Malformed},
	} {
		d.assertRefused(t, name, c.token, c.want)
	}
}

// A verifier for one kind of token accepts no other.
func TestOtherKinds(t *testing.T) {
	phoenix, err := phoenixExample.Sign("ada", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	onlyJWT := newVerifier(t, Options{Keys: []Key{{Algorithm: "HS256", Secret: secret}}})
	assertRefused(t, onlyJWT, "Phoenix.Token", phoenix, BadAlgorithm)
	onlyPhoenix := newVerifier(t, Options{PhoenixToken: &phoenixExample})
	assertRefused(t, onlyPhoenix, "JWT", sign(t, "HS256", []byte(secret), nil, goodClaims(nil)), BadAlgorithm)

	// Where a token need not expire, one that says it does expires all the same.
	never := newVerifier(t, Options{Keys: onlyJWT.options.Keys, NoExpiry: true})
	if _, err := never.Verify(context.Background(), sign(t, "HS256", []byte(secret), nil, claims{"sub": "ada"})); err != nil {
		t.Error(err)
	}
	assertRefused(t, never, "expired", sign(t, "HS256", []byte(secret), nil, claims{"exp": 1}), Expired)
	assertRefused(t, never, "exp 0", sign(t, "HS256", []byte(secret), nil, claims{"exp": 0}), Expired)
	assertRefused(t, never, "exp null", sign(t, "HS256", []byte(secret), nil, claims{"exp": nil}), Malformed)
}

// Tokens come in the params, the subprotocol, or both if they are the same.
func TestTokenPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := sign(t, "HS256", []byte(secret), nil, claims{"sub": "ada", "exp": soon()})
		b := sign(t, "HS256", []byte(secret), nil, claims{"sub": "bob", "exp": soon()})
		keys := []Key{{Algorithm: "HS256", Secret: secret}}
		both := openDoor(t, Options{Keys: keys, Param: "jwt"})
		params := openDoor(t, Options{Keys: keys, From: []string{FromParams}})
		protocol := openDoor(t, Options{Keys: keys, From: []string{FromAuthToken}})
		for name, c := range map[string]struct {
			door            *door
			query, protocol string
			want            Reason
		}{
			"param":               {both, "?jwt=" + a, "", ""},
			"subprotocol":         {both, "", a, ""},
			"the same in both":    {both, "?jwt=" + a, a, ""},
			"two that differ":     {both, "?jwt=" + a, b, Ambiguous},
			"two params":          {both, "?jwt=" + a + "&jwt=" + b, "", Ambiguous},
			"the same param":      {both, "?jwt=" + a + "&jwt=" + a, "", ""},
			"nested":              {both, "?jwt[a]=" + a, "", Missing},
			"another name":        {both, "?token=" + a, "", Missing},
			"params only":         {params, "?token=" + a, b, ""},
			"params only, none":   {params, "", a, Missing},
			"protocol only":       {protocol, "?token=" + b, a, ""},
			"protocol only, none": {protocol, "?token=" + a, "", Missing},
		} {
			header := http.Header{}
			if c.protocol != "" {
				header.Set("Sec-WebSocket-Protocol", "phoenix, base64url.bearer.phx."+base64.RawStdEncoding.EncodeToString([]byte(c.protocol)))
			}
			c.door.log.Take()
			_, err := channelstest.TryConnect(t, c.door.Endpoint, "/socket"+c.query, header)
			if log := c.door.log.Take(); (err == nil) != (c.want == "") || !strings.Contains(log, string(c.want)) {
				t.Errorf("%s: %v: %s", name, err, log)
			}
		}
	})
}

// TestTokenMay: a * in a claim that a pattern is filled with is no wildcard, although Token.Join shows it like one.
func TestTokenMay(t *testing.T) {
	v := newVerifier(t, Options{Keys: []Key{{Algorithm: "HS256", Secret: secret}}, Join: []string{"user:{sub}", "lobby"}, Publish: []string{"room:*"}, Leeway: -1})
	exp := soon()
	token, err := v.Verify(context.Background(), sign(t, "HS256", []byte(secret), nil, claims{"sub": "*", "exp": exp, "channels": map[string]any{"join": []string{"own:*"}}}))
	if err != nil {
		t.Fatal(err)
	}
	for topic, may := range map[string]bool{"user:*": true, "user:7": false, "lobby": true, "own:1": true, "room:1": false} {
		if token.MayJoin(topic) != may {
			t.Errorf("MayJoin(%s) is %t", topic, !may)
		}
	}
	if !token.MayPublish("room:1") || token.MayPublish("lobby") {
		t.Error("MayPublish does not go by Options.Publish")
	}
	if token.Ends.Unix() != exp {
		t.Errorf("the token ends at %v without a leeway, exp is %d", token.Ends, exp)
	}
}
