package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/units"
)

// oddKeys are keys that cannot verify a token, with the reason that is logged.
func oddKeys(t testing.TB) map[string]struct {
	key    any
	reason string
} {
	t.Helper()
	s := signers()
	b := func(n int) string { return base64.RawURLEncoding.EncodeToString(make([]byte, n)) }
	ec := jwk(t, s.ec384, nil)
	return map[string]struct {
		key    any
		reason string
	}{
		"an EC key without y":        {object{"kty": "EC", "crv": "P-384", "kid": "odd", "x": ec["x"]}, `EC requires parameters`},
		"an EC key off its curve":    {jwk(t, s.ec384, object{"kid": "odd", "y": ec["x"]}), "EC point is not on the specified curve"},
		"an EC key of another curve": {jwk(t, s.ec384, object{"kid": "odd", "crv": "P-256"}), "EC point is not on the specified curve"},
		"an EC curve of Bitcoin":     {jwk(t, s.ec384, object{"kid": "odd", "crv": "secp256k1"}), `unsupported curve type \"secp256k1\"`},
		"a short OKP key":            {object{"kty": "OKP", "crv": "Ed25519", "kid": "odd", "x": b(31)}, "OKP key should be 32 bytes"},
		"a long OKP key":             {object{"kty": "OKP", "crv": "Ed25519", "kid": "odd", "x": b(57)}, "OKP key should be 32 bytes"},
		"X25519":                     {object{"kty": "OKP", "crv": "X25519", "kid": "odd", "x": b(32)}, `crv is \"X25519\": its keys sign nothing`},
		"oct without k":              {object{"kty": "oct", "kid": "odd"}, "kty is oct: a secret must not be published"},
		"oct":                        {jwk(t, []byte(secret), object{"kid": "odd"}), "kty is oct: a secret must not be published"},
		"use is tls":                 {jwk(t, s.rsaOther, object{"kid": "odd", "use": "tls"}), `use is \"tls\", not \"sig\"`},
		"use is enc":                 {jwk(t, s.rsaOther, object{"kid": "odd", "use": "enc"}), `use is \"enc\", not \"sig\"`},
		"key_ops without verify":     {jwk(t, s.rsaOther, object{"kid": "odd", "key_ops": []string{"wrapKey", "x"}}), `key_ops do not include \"verify\"`},
		"key_ops are empty":          {jwk(t, s.rsaOther, object{"kid": "odd", "key_ops": []string{}}), `key_ops do not include \"verify\"`},
		"key_ops are a text":         {jwk(t, s.rsaOther, object{"kid": "odd", "key_ops": "verify"}), "key_ops is a string"},
		"an algorithm to encrypt":    {jwk(t, s.rsaOther, object{"kid": "odd", "alg": "RSA-OAEP"}), `alg is \"RSA-OAEP\": it must be one of RS256`},
		"alg of another type":        {jwk(t, s.rsaOther, object{"kid": "odd", "alg": "ES256"}), "not a key for its alg, ES256"},
		"a short modulus":            {jwk(t, s.rsaShort, object{"kid": "odd"}), "n has 1024 bits"},
		"a modulus that is even":     {jwk(t, s.rsaOther, object{"kid": "odd", "n": base64.RawURLEncoding.EncodeToString(append(bytesOf(0xff, 255), 0xfe))}), "n is even"},
		"an exponent of 1":           {jwk(t, s.rsaOther, object{"kid": "odd", "e": "AQ"}), "out of range"},
		"no exponent":                {object{"kty": "RSA", "kid": "odd", "n": b(256)}, `RSA requires parameters`},
		"no base64url":               {jwk(t, s.rsaOther, object{"kid": "odd", "n": "+/+/"}), `RSA key parameter \"n\": illegal base64`},
		"a number as kid":            {jwk(t, s.rsaOther, object{"kid": 7}), "kid is a number"},
		"an unknown kty":             {object{"kty": "AKP", "kid": "odd"}, `kty is \"AKP\": it must be RSA, EC or OKP`},
		"x5c of another key":         {jwk(t, s.rsaOther, object{"kid": "odd", "x5c": []string{certificateOf(t, s.ec)}}), "x5c has the certificate of another key"},
		"x5c that is no certificate": {jwk(t, s.rsaOther, object{"kid": "odd", "x5c": []string{"AAAA"}}), "x5c has no certificate that can be read"},
		"x5c that is a text":         {jwk(t, s.rsaOther, object{"kid": "odd", "x5c": "AAAA"}), "x5c is a string"},
		"no object":                  {"a key", "not an object"},
		"null":                       {nil, `kty is \"\": it must be RSA, EC or OKP`},
	}
}

func bytesOf(b byte, n int) []byte { return []byte(strings.Repeat(string([]byte{b}), n)) }

func certificateOf(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(der)
}

// TestJWKSOddKeys: one key that cannot be used takes none of the others away
// (RFC 7517, 5), neither at the start nor when a provider adds it at a rotation,
// and is logged once.
func TestJWKSOddKeys(t *testing.T) {
	s := signers()
	unnamed := map[string]bool{"no object": true, "null": true} // these are known by their places
	for name, c := range oddKeys(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := jwk(t, s.ec, object{"kid": "good"})
			server := serveKeys(t, c.key, good)
			log := new(logBuffer)
			logger := zerolog.New(log)
			v, err := New(Options{JWKS: &JWKS{URLs: []string{server.URL}, Refresh: units.Duration(time.Hour)}}, &logger)
			if err != nil {
				t.Fatal(err)
			}
			defer v.Close()
			mine := claims{"sub": "ada", "exp": soon()}
			if _, err := v.Verify(context.Background(), sign(t, "ES256", s.ec, kid("good"), mine)); err != nil {
				t.Errorf("the good key: %v", err)
			}
			if said := log.Take(); strings.Count(said, "is skipped") != 1 || !strings.Contains(said, c.reason) {
				t.Errorf("the log says %s, want %s", said, c.reason)
			}
			// The provider rotates and keeps the odd key.
			server.set(func() { server.keys = []any{jwk(t, s.ed, object{"kid": "new"}), c.key} })
			if _, err := v.Verify(context.Background(), sign(t, "EdDSA", s.ed, kid("new"), mine)); err != nil {
				t.Errorf("the key after the rotation: %v", err)
			}
			if said := log.Take(); strings.Contains(said, "is skipped") && !unnamed[name] {
				t.Errorf("logged again: %s", said)
			}
		})
	}
}

// TestJWKSKeysWithMoreMembers: what is not needed to verify makes no key odd.
func TestJWKSKeysWithMoreMembers(t *testing.T) {
	s := signers()
	for name, more := range map[string]object{
		"x5u":              {"x5u": "https://example.com/cert.pem"},
		"x5c":              {"x5c": []string{certificateOf(t, s.ec)}, "x5t": "no digest"},
		"other key_ops":    {"key_ops": []string{"verify", "sign", "x"}},
		"unknown members":  {"issuer": object{"a": 1}, "exp": "x"},
		"padded":           {"x": fmt.Sprint(jwk(t, s.ec, nil)["x"]) + "="},
		"the private part": {"d": "AQ"},
	} {
		more["kid"] = "k"
		server := serveKeys(t, jwk(t, s.ec, more))
		v := newVerifier(t, Options{JWKS: &JWKS{URLs: []string{server.URL}}})
		if _, err := v.Verify(context.Background(), sign(t, "ES256", s.ec, kid("k"), claims{"exp": soon()})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestJWKSOneKidTwoTypes: kid and kty choose together (RFC 7517, 4.5), whichever
// comes first, and of one kty each key is tried.
func TestJWKSOneKidTwoTypes(t *testing.T) {
	s := signers()
	keys := []any{
		jwk(t, s.rsa, object{"kid": "1"}), jwk(t, s.ec, object{"kid": "1"}),
		jwk(t, s.ed, object{"kid": "1"}), jwk(t, s.rsaOther, object{"kid": "1"}),
	}
	for range 2 {
		server := serveKeys(t, keys...)
		v := newVerifier(t, Options{JWKS: &JWKS{URLs: []string{server.URL}}})
		c := claims{"exp": soon()}
		for name, token := range map[string]string{
			"RSA": sign(t, "RS256", s.rsa, kid("1"), c), "another RSA": sign(t, "PS256", s.rsaOther, kid("1"), c),
			"EC": sign(t, "ES256", s.ec, kid("1"), c), "Ed": sign(t, "EdDSA", s.ed, kid("1"), c),
		} {
			if _, err := v.Verify(context.Background(), token); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		assertRefused(t, v, "a key that is not there", sign(t, "ES384", s.ec384, kid("1"), c), UnknownKey)
		keys[0], keys[1], keys[2], keys[3] = keys[3], keys[2], keys[1], keys[0]
	}
}

// TestJWKSTooManyKeys: a token without kid is not tried with any number.
func TestJWKSTooManyKeys(t *testing.T) {
	s := signers()
	set := make([]string, 3*maxKeys)
	for i := range set {
		set[i] = fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","kid":"%d","x":%q}`, i, jwk(t, s.ed, nil)["x"])
	}
	keys, skipped, err := parseKeys([]byte(`{"keys":[` + strings.Join(set, ",") + `]}`))
	if err != nil || len(keys) != maxKeys || len(skipped) != 1 || !strings.Contains(skipped[0], "only 100 are used") {
		t.Errorf("%d keys, %q, %v", len(keys), skipped, err)
	}
}

// silentServer accepts requests and never answers.
func silentServer(t testing.TB) *httptest.Server {
	t.Helper()
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(release) })
	return server
}

// TestJWKSSilentServers: servers that never answer hold up neither New, whatever
// their number, nor a token for longer than maxKeyWait; its client is told to
// come back, because it may be good. What others have answered is not held up.
// It takes 5 s, which is how long a connect waits for a key.
func TestJWKSSilentServers(t *testing.T) {
	t.Parallel()
	s := signers()
	silent, good := silentServer(t), serveKeys(t, jwk(t, s.ec, object{"kid": "1"}))
	urls := []string{good.URL}
	for i := range maxJWKSURLs - 1 {
		urls = append(urls, fmt.Sprint(silent.URL, "/", i))
	}
	began := time.Now()
	d := openDoor(t, Options{JWKS: &JWKS{URLs: urls, Timeout: units.Duration(time.Minute)}})
	c := claims{"exp": soon()}
	if err := d.tryConnect(t, sign(t, "ES256", s.ec, kid("1"), c)); err != nil {
		t.Errorf("a key of the server that answers: %v", err)
	}
	if took := time.Since(began); took >= maxKeyWait {
		t.Errorf("%v have passed", took)
	}
	var status *channelstest.RefusedError
	_, err := channelstest.TryConnect(t, d.Endpoint, "/socket?token="+url.QueryEscape(sign(t, "ES384", s.ec384, kid("2"), c)), nil)
	if !errors.As(err, &status) || status.Status != http.StatusServiceUnavailable {
		t.Errorf("a key that a silent server may have: %v", err)
	}
	if took := time.Since(began); took > 4*maxKeyWait {
		t.Errorf("%v have passed", took)
	}
	if said := d.log.Take(); !strings.Contains(said, "no answer yet from "+silent.URL) {
		t.Errorf("the log says %s", said)
	}
}

// TestJWKSRedacted: an address may have secrets.
func TestJWKSRedacted(t *testing.T) {
	for address, want := range map[string]string{
		"https://ada:hush@example.com/keys":        "https://ada:***@example.com/keys",
		"https://example.com/keys?apikey=hush&v=1": "https://example.com/keys?apikey=***&v=***",
		"https://example.com/keys?hush#hush":       "https://example.com/keys?hush=***",
		"https://example.com/.well-known/jwks":     "https://example.com/.well-known/jwks",
		"https://ada@example.com/":                 "https://ada@example.com/",
		"https://exa mple.com/hush":                "***",
	} {
		o := Options{JWKS: &JWKS{URLs: []string{address}}}
		if got := o.Redacted().JWKS.URLs[0]; got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
		if o.JWKS.URLs[0] != address {
			t.Errorf("%s was changed", address)
		}
	}
	if err := (Options{JWKS: &JWKS{URLs: []string{"https://ada:***@example.com/keys"}}}).Validate(); err == nil {
		t.Error("a redacted address is accepted")
	}
}
