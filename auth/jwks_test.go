package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/units"
)

// keyServer is a JWKS server that can fail.
type keyServer struct {
	*httptest.Server

	mu     sync.Mutex
	keys   []any
	status int    // 0: as it should be
	body   string // in place of the keys
	asked  int
}

func serveKeys(t testing.TB, keys ...any) *keyServer {
	t.Helper()
	s := &keyServer{keys: keys}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	switch {
	case r.URL.Path == "/away":
		http.Redirect(w, r, "http://example.com/jwks", http.StatusFound)
	case s.status != 0:
		w.WriteHeader(s.status)
	case s.body != "":
		fmt.Fprint(w, s.body)
	default:
		json.NewEncoder(w).Encode(object{"keys": s.keys})
	}
}

func (s *keyServer) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *keyServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// jwk is a public key as a JWKS has it.
func jwk(t testing.TB, key any, more object) object {
	t.Helper()
	e := base64.RawURLEncoding.EncodeToString
	var o object
	switch key := key.(type) {
	case *rsa.PrivateKey:
		o = object{"kty": "RSA", "n": e(key.N.Bytes()), "e": e(big.NewInt(int64(key.E)).Bytes())}
	case *ecdsa.PrivateKey:
		point, err := key.PublicKey.Bytes() // 4, x, y
		if err != nil {
			t.Fatal(err)
		}
		half := (len(point) - 1) / 2
		o = object{"kty": "EC", "crv": key.Curve.Params().Name, "x": e(point[1 : 1+half]), "y": e(point[1+half:])}
	case ed25519.PrivateKey:
		o = object{"kty": "OKP", "crv": "Ed25519", "x": e(key.Public().(ed25519.PublicKey))}
	case []byte:
		o = object{"kty": "oct", "k": e(key)}
	}
	for k, v := range more {
		o[k] = v
	}
	return o
}

func kid(id string) map[string]any { return map[string]any{"kid": id} }

func TestJWKS(t *testing.T) {
	s := signers()
	server := serveKeys(t,
		jwk(t, s.rsa, object{"kid": "rsa"}), jwk(t, s.ec, object{"kid": "ec", "alg": "ES256", "use": "sig"}), jwk(t, s.ed, object{"kid": "ed"}),
		jwk(t, s.rsaOther, object{"kid": "ps", "alg": "PS256"}), jwk(t, s.ec384, object{"kid": "enc", "use": "enc"}),
		jwk(t, s.rsaShort, object{"kid": "short"}), jwk(t, []byte(secret), object{"kid": "oct"}),
	)
	second := serveKeys(t, jwk(t, s.ec384, object{"kid": "second"}))
	v := newVerifier(t, Options{JWKS: &JWKS{URLs: []string{server.URL, second.URL}}})
	c := claims{"sub": "ada", "exp": soon()}
	for name, token := range map[string]string{
		"RSA": sign(t, "RS256", s.rsa, kid("rsa"), c), "RSA PSS": sign(t, "PS512", s.rsa, kid("rsa"), c),
		"EC": sign(t, "ES256", s.ec, kid("ec"), c), "Ed": sign(t, "EdDSA", s.ed, kid("ed"), c), "PS": sign(t, "PS256", s.rsaOther, kid("ps"), c),
		"the second server": sign(t, "ES384", s.ec384, kid("second"), c),
		"no kid, RSA":       sign(t, "RS256", s.rsa, nil, c), "no kid, EC": sign(t, "ES256", s.ec, nil, c),
	} {
		if _, err := v.Verify(context.Background(), token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		token string
		want  Reason
	}{
		"another alg than the key states":   {sign(t, "RS256", s.rsaOther, kid("ps"), c), UnknownKey},
		"the same without kid":              {sign(t, "RS256", s.rsaOther, nil, c), BadSignature},
		"a key for encryption":              {sign(t, "ES384", s.ec384, kid("enc"), c), UnknownKey},
		"a short key":                       {sign(t, "RS256", s.rsaShort, kid("short"), c), UnknownKey},
		"a key for another kind":            {sign(t, "ES256", s.ec, kid("rsa"), c), UnknownKey},
		"the key of another":                {sign(t, "RS256", s.rsaOther, kid("rsa"), c), BadSignature},
		"a secret of the server":            {sign(t, "HS256", []byte(secret), kid("oct"), c), BadAlgorithm},
		"a public key of the server as one": {sign(t, "HS256", []byte(publicPEM(t, s.rsa)), kid("rsa"), c), BadAlgorithm},
		"none":                              {forge(`{"alg":"none","kid":"rsa"}`, `{"exp":9999999999}`, nil), BadAlgorithm},
	} {
		assertRefused(t, v, name, c.token, c.want)
	}
}

// A new key is found when the first token names it, but nobody can have the
// server asked again and again.
func TestJWKSRotation(t *testing.T) {
	s := signers()
	server := serveKeys(t, jwk(t, s.rsa, object{"kid": "1"}))
	v := newVerifier(t, Options{JWKS: &JWKS{URLs: []string{server.URL}, Timeout: units.Duration(10 * time.Second)}})
	c := claims{"sub": "ada", "exp": soon()}
	old, rotated := sign(t, "RS256", s.rsa, kid("1"), c), sign(t, "ES256", s.ec, kid("2"), c)
	if _, err := v.Verify(context.Background(), old); err != nil {
		t.Fatal(err)
	}
	server.set(func() { server.keys = []any{jwk(t, s.ec, object{"kid": "2"})} })
	if _, err := v.Verify(context.Background(), rotated); err != nil {
		t.Errorf("after the rotation: %v", err)
	}
	asked := server.count()
	assertRefused(t, v, "the key that is gone", old, UnknownKey)
	for i := range 20 {
		assertRefused(t, v, "made up", sign(t, "RS256", s.rsa, kid(fmt.Sprint("x", i)), c), UnknownKey)
	}
	if n := server.count(); n != asked || asked != 2 {
		t.Errorf("the server was asked %d and %d times", asked, n)
	}
	if _, err := v.Verify(context.Background(), rotated); err != nil {
		t.Errorf("a known key, meanwhile: %v", err)
	}
}

// A server that fails does not take away what it has given.
func TestJWKSServerFails(t *testing.T) {
	s := signers()
	c := claims{"sub": "ada", "exp": soon()}
	token := sign(t, "RS256", s.rsa, kid("1"), c)
	for name, fail := range map[string]func(*keyServer){
		"500":       func(k *keyServer) { k.status = 500 },
		"no JSON":   func(k *keyServer) { k.body = "<html>" },
		"half":      func(k *keyServer) { k.body = `{"keys":[` },
		"too large": func(k *keyServer) { k.body = `{"keys":[],"x":"` + strings.Repeat("x", maxJWKSBytes) + `"}` },
	} {
		log := new(logBuffer)
		logger := zerolog.New(log)
		server := serveKeys(t, jwk(t, s.rsa, object{"kid": "1"}))
		v, err := New(Options{JWKS: &JWKS{URLs: []string{server.URL + "/keys?secret=hush"}, Refresh: units.Duration(10 * time.Millisecond)}}, &logger)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(context.Background(), token); err != nil { // waits for the keys
			t.Fatal(err)
		}
		server.set(func() { fail(server) })
		said := log.await(t, "cannot be fetched")
		if !strings.Contains(said, server.URL+"/keys") || strings.Contains(said, "hush") {
			t.Errorf("%s: the log says %s", name, said)
		}
		if _, err := v.Verify(context.Background(), token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		v.Close()
	}
}

// The verifier starts without its server, and finds it by the first token.
func TestJWKSServerAway(t *testing.T) {
	s := signers()
	c := claims{"sub": "ada", "exp": soon()}
	for name, header := range map[string]map[string]any{"kid": kid("1"), "no kid": nil} {
		server := serveKeys(t, jwk(t, s.rsa, object{"kid": "1"}))
		server.set(func() { server.status = 503 })
		log := new(logBuffer)
		logger := zerolog.New(log)
		v, err := New(Options{JWKS: &JWKS{URLs: []string{server.URL}}}, &logger)
		if err != nil {
			t.Fatal(err)
		}
		log.await(t, "cannot be fetched")
		server.set(func() { server.status = 0 })
		if _, err := v.Verify(context.Background(), sign(t, "RS256", s.rsa, header, c)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		v.Close()
	}
}

// Nobody is followed to where others could answer in the server's place.
func TestJWKSRedirect(t *testing.T) {
	server := serveKeys(t)
	log := new(logBuffer)
	logger := zerolog.New(log)
	v, err := New(Options{JWKS: &JWKS{URLs: []string{server.URL + "/away"}}}, &logger)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	log.await(t, "redirected")
}

// TestPublicOnly: neither by its name, nor by what its name has become, nor by
// a redirect does a server of this machine get a request.
func TestPublicOnly(t *testing.T) {
	server := serveKeys(t)
	client := JWKS{PublicOnly: true, AllowHTTP: true, Timeout: units.Duration(time.Second)}.client()
	defer client.CloseIdleConnections()
	for _, host := range []string{"127.0.0.1", "localhost"} {
		_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
		answer, err := client.Get("http://" + host + ":" + port)
		if err == nil {
			answer.Body.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "private network") {
			t.Errorf("%s: %v", host, err)
		}
	}
	if n := server.count(); n != 0 {
		t.Errorf("asked %d times", n)
	}
}
