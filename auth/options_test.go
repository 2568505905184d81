package auth

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/units"
)

func TestValidate(t *testing.T) {
	s := signers()
	hs256 := []Key{{Algorithm: "HS256", Secret: secret}}
	for want, o := range map[string]Options{
		"the value has nothing to verify tokens with: give keys, jwks or phoenix_token": {},
		`/keys/0/alg is "none": it must be one of HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA`: {
			Keys: []Key{{Algorithm: "none", Secret: secret}}},
		"/keys/1/secret has 31 bytes: HS256 needs at least 32":                            {Keys: []Key{hs256[0], {Algorithm: "HS256", Secret: secret[:31]}}},
		"/keys/0/secret_base64 is not base64":                                             {Keys: []Key{{Algorithm: "HS256", SecretBase64: "§"}}},
		"/keys/0/secret_base64 and secret are both given: give one":                       {Keys: []Key{{Algorithm: "HS256", Secret: secret, SecretBase64: "AAAA"}}},
		"/keys/0/public_key is not for HS256, which verifies with a secret":               {Keys: []Key{{Algorithm: "HS256", Secret: secret, PublicKey: "x"}}},
		"/keys/0/secret is not for RS256, which verifies with a public_key":               {Keys: []Key{{Algorithm: "RS256", Secret: secret, PublicKey: publicPEM(t, s.rsa)}}},
		"/keys/0/public_key is not PEM: it must begin with -----BEGIN PUBLIC KEY-----":    {Keys: []Key{{Algorithm: "RS256"}}},
		"/keys/0/public_key is a PRIVATE KEY: it must be a PUBLIC KEY or a CERTIFICATE":   {Keys: []Key{{Algorithm: "RS256", PublicKey: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}}},
		"/keys/0/public_key is not a key for RS256":                                       {Keys: []Key{{Algorithm: "RS256", PublicKey: publicPEM(t, s.rsaShort)}}},
		"/keys/0/public_key is not a key for ES256":                                       {Keys: []Key{{Algorithm: "ES256", PublicKey: publicPEM(t, s.ec384)}}},
		"/keys/0/public_key is not a key for EdDSA":                                       {Keys: []Key{{Algorithm: "EdDSA", PublicKey: publicPEM(t, s.rsa)}}},
		"/jwks/urls has 0: it must have from 1 to 16":                                     {JWKS: &JWKS{}},
		`/jwks/urls/0 is not an address like "https://example.com/.well-known/jwks.json"`: {JWKS: &JWKS{URLs: []string{"example.com"}}},
		"/jwks/urls/0 is http: it must be https, or allow_http must be true":              {JWKS: &JWKS{URLs: []string{"http://example.com/"}}},
		`/jwks/algorithms/0 is "HS256": it must be one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA`: {
			JWKS: &JWKS{URLs: []string{"https://example.com/"}, Algorithms: []string{"HS256"}}},
		"/jwks/refresh is negative: leave it out for its default": {JWKS: &JWKS{URLs: []string{"http://127.0.0.1/"}, Refresh: -1}},
		"/phoenix_token/secret_key_base has 5 bytes: it must have at least 20, as mix phx.gen.secret makes them; " +
			"/phoenix_token/salt is empty: it must be what the application gives to Phoenix.Token.sign": {PhoenixToken: &PhoenixToken{SecretKeyBase: "short"}},
		"/phoenix_token/key_digest is \"md5\": it must be sha256, sha384 or sha512":                                {PhoenixToken: &PhoenixToken{SecretKeyBase: secret, Salt: "s", KeyDigest: "md5"}},
		"/phoenix_token/key_iterations is -1: it must be from 1 to 1000000":                                        {PhoenixToken: &PhoenixToken{SecretKeyBase: secret, Salt: "s", KeyIterations: -1}},
		"/phoenix_token/key_length is 5000: it must be from 1 to 1024":                                             {PhoenixToken: &PhoenixToken{SecretKeyBase: secret, Salt: "s", KeyLength: 5000}},
		"/phoenix_token/max_age is negative: leave it out for what the tokens say":                                 {PhoenixToken: &PhoenixToken{SecretKeyBase: secret, Salt: "s", MaxAge: -1}},
		"/max_bytes is 65537: it must be from 1 to 65536, or 0 for 8192":                                           {Keys: hs256, MaxBytes: 65537},
		`/from/1 is "header": it must be "params" or "auth_token"`:                                                 {Keys: hs256, From: []string{"params", "header"}},
		`/socket_id has a { that no name of a claim and } follow: write it like "users_socket:{sub}"`:              {Keys: hs256, SocketID: "u:{sub"},
		`/socket_id has no claim, so that all clients would have the same id: write it like "users_socket:{sub}"`:  {Keys: hs256, SocketID: "users"},
		`/assigns has "claims": "x": both must have names, and "claims" is taken`:                                  {Keys: hs256, Assigns: map[string]string{"claims": "x"}},
		`/join/0 is empty: write it like "room:*" or "user:{sub}"`:                                                 {Keys: hs256, Join: []string{""}},
		`/publish/1 has a * that is not at the end: write it like "room:*" or "user:{sub}"`:                        {Keys: hs256, Publish: []string{"*", "a*b"}},
		`/publish/0 has a } without a { before it: write it like "room:*" or "user:{sub}"`:                         {Keys: hs256, Publish: []string{"a}"}},
		"/keys/0/secret is ***, which only replaces a secret for display: write the secret itself":                 Options{Keys: hs256}.Redacted(),
		"/phoenix_token/secret_key_base is ***, which only replaces a secret for display: write the secret itself": Options{PhoenixToken: &phoenixExample}.Redacted(),
	} {
		err := o.Validate()
		var invalid fielderr.List
		if !errors.As(err, &invalid) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
			continue
		}
		if v, err := New(o, nil); err == nil {
			v.Close()
			t.Errorf("%s: New takes it", want)
		}
		if strings.Contains(err.Error(), secret[:20]) {
			t.Errorf("the error has the secret: %v", err)
		}
	}
	all := every(t)
	all.JWKS = &JWKS{URLs: []string{"https://example.com/jwks", "http://localhost:1/", "http://[::1]/"}}
	if err := all.Validate(); err != nil {
		t.Error(err)
	}
}

// Options are the same after they were written as JSON and read, and what is
// shown of them has no secret.
func TestOptionsJSON(t *testing.T) {
	o := every(t)
	o.JWKS = &JWKS{URLs: []string{"https://example.com/jwks"}, Refresh: units.Duration(time.Hour)}
	o.Leeway, o.Warning, o.Assigns = units.Duration(time.Second), units.Duration(90*time.Second), map[string]string{"user": "sub"}
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	var again Options
	if err := json.Unmarshal(text, &again); err != nil || !reflect.DeepEqual(again, o) {
		t.Errorf("%v: %s", err, text)
	}
	if !strings.Contains(string(text), `"warning":"1m30s"`) {
		t.Errorf("%s", text)
	}
	shown, err := json.Marshal(o.Redacted())
	if err != nil || strings.Contains(string(shown), secret[:8]) || strings.Contains(string(shown), phoenixExample.SecretKeyBase) {
		t.Errorf("%s, %v", shown, err)
	}
	if o.Keys[0].Secret != secret || o.PhoenixToken.SecretKeyBase != phoenixExample.SecretKeyBase {
		t.Error("the secrets are gone")
	}
	if err := json.Unmarshal([]byte(`{"leeway":"soon"}`), &again); err == nil || !strings.Contains(err.Error(), `"soon" is not a duration: write it like "90s"`) {
		t.Error(err)
	}
}

func TestKeySign(t *testing.T) {
	key := Key{ID: "a", Algorithm: "HS384", SecretBase64: "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LV8_"}
	token, err := key.Sign(Claims{"sub": "ada", "exp": json.Number("9999999999")})
	if err != nil {
		t.Fatal(err)
	}
	got, err := newVerifier(t, Options{Keys: []Key{key}}).Verify(t.Context(), token)
	if err != nil || got.Claims["sub"] != "ada" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []Key{{Algorithm: "RS256"}, {Algorithm: "HS256", Secret: "short"}, {Algorithm: "none"}} {
		if token, err := bad.Sign(Claims{}); err == nil {
			t.Errorf("%v signs %s", bad, token)
		}
	}
}

func TestLookup(t *testing.T) {
	c := Claims{"a": map[string]any{"b": map[string]any{"c": "deep"}, "n": json.Number("5")}, "https://x.y/z": true, "a.n": "flat", "e": ""}
	for path, want := range map[string]string{"a.b.c": "deep", "a.n": "flat", "https://x.y/z": "true"} {
		if got, ok := c.Text(path); !ok || got != want {
			t.Errorf("%s: %q, %v", path, got, ok)
		}
	}
	for _, path := range []string{"a", "a.b", "a.b.c.d", "x", "", "e", "a..b"} {
		if got, ok := c.Text(path); ok {
			t.Errorf("%s: %q", path, got)
		}
	}
}

// What may fetch keys, or computes for long, is kept off the loops.
func TestConnectOnLoop(t *testing.T) {
	blocking := func(context.Context, *channels.Socket, *channels.Request) error { return nil }
	slow := every(t)
	for name, c := range map[string]struct {
		options Options
		socket  channels.SocketOptions
		want    bool
	}{
		"HMAC":                 {hmacOptions(Options{}), channels.SocketOptions{}, true},
		"Phoenix.Token":        {Options{PhoenixToken: &phoenixExample}, channels.SocketOptions{}, true},
		"RSA":                  {slow, channels.SocketOptions{ConnectOnLoop: true}, false},
		"a Connect that may":   {hmacOptions(Options{}), channels.SocketOptions{Connect: blocking, ConnectOnLoop: true}, true},
		"a Connect that not":   {hmacOptions(Options{}), channels.SocketOptions{Connect: blocking}, false},
		"RSA, and one of ours": {slow, channels.SocketOptions{Connect: blocking, ConnectOnLoop: true}, false},
	} {
		if got := newVerifier(t, c.options).Protect(c.socket).ConnectOnLoop; got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
