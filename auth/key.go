package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/mycelium-rt/mycelium/fielderr"
)

// Key verifies JSON Web Tokens that are signed with one algorithm.
type Key struct {
	// ID, if not empty, is the kid of the tokens that the key verifies. A token
	// without kid is tried with every key of its algorithm.
	ID string `json:"kid,omitempty" yaml:"kid,omitempty"`
	// Algorithm is the only algorithm of the key: HS256, HS384, HS512; RS, PS
	// or ES with the same numbers; EdDSA.
	Algorithm string `json:"alg" yaml:"alg"`
	// Secret, or SecretBase64, which is the same in base64, is for HS
	// algorithms. It has at least as many bytes as the hash, 32 for HS256 (RFC
	// 7518, 3.2).
	Secret       string `json:"secret,omitempty" yaml:"secret,omitempty"`
	SecretBase64 string `json:"secret_base64,omitempty" yaml:"secret_base64,omitempty"`
	// PublicKey is for all other algorithms: a public key or a certificate in
	// PEM.
	PublicKey string `json:"public_key,omitempty" yaml:"public_key,omitempty"`
}

// hmacBytes are the HS algorithms with the sizes of their hashes.
var hmacBytes = map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}

// asymmetric are the algorithms whose verifier cannot sign.
var asymmetric = []string{
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

const minRSABits = 2048

func (k Key) check() (wrong fielderr.List) {
	switch {
	case hmacBytes[k.Algorithm] > 0:
		return k.checkSecret()
	case slices.Contains(asymmetric, k.Algorithm):
		if k.Secret != "" || k.SecretBase64 != "" {
			wrong.Add("/secret", "is not for %s, which verifies with a public_key", k.Algorithm)
		}
		if _, err := k.verifying(); err != nil {
			wrong.Add("/public_key", "%v", err)
		}
	default:
		wrong.Add("/alg", "is %q: it must be one of HS256, HS384, HS512, %s", k.Algorithm, strings.Join(asymmetric, ", "))
	}
	return wrong
}

func (k Key) checkSecret() (wrong fielderr.List) {
	field := "/secret"
	if k.SecretBase64 != "" {
		field = "/secret_base64"
	}
	switch {
	case k.PublicKey != "":
		wrong.Add("/public_key", "is not for %s, which verifies with a secret", k.Algorithm)
	case k.Secret != "" && k.SecretBase64 != "":
		wrong.Add("/secret_base64", "and secret are both given: give one")
	case k.Secret == hidden || k.SecretBase64 == hidden:
		wrong.Add(field, "is %s, which only replaces a secret for display: write the secret itself", hidden)
	default:
		if _, err := k.verifying(); err != nil {
			wrong.Add(field, "%v", err)
		}
	}
	return wrong
}

// verifying returns the key in the form that golang-jwt takes.
func (k Key) verifying() (any, error) {
	size := hmacBytes[k.Algorithm]
	if size == 0 {
		return parsePublicKey(k.PublicKey, k.Algorithm)
	}
	secret := []byte(k.Secret)
	if k.SecretBase64 != "" {
		text := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(k.SecretBase64, "="))
		var err error
		if secret, err = base64.RawStdEncoding.DecodeString(text); err != nil {
			return nil, errors.New("is not base64")
		}
	}
	if len(secret) < size {
		return nil, fmt.Errorf("has %d bytes: %s needs at least %d", len(secret), k.Algorithm, size)
	}
	return secret, nil
}

func parsePublicKey(text, algorithm string) (any, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("is not PEM: it must begin with -----BEGIN PUBLIC KEY-----")
	}
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	default:
		return nil, fmt.Errorf("is a %s: it must be a PUBLIC KEY or a CERTIFICATE", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if !fits(key, algorithm) {
		return nil, fmt.Errorf("is not a key for %s", algorithm)
	}
	return key, nil
}

// fits reports whether a public key is of the type that an algorithm needs. An
// RSA key that is too short fits none.
func fits(key any, algorithm string) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= minRSABits && (strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS"))
	case *ecdsa.PublicKey:
		m, ok := jwt.GetSigningMethod(algorithm).(*jwt.SigningMethodECDSA)
		return ok && m.CurveBits == key.Curve.Params().BitSize
	case ed25519.PublicKey:
		return algorithm == jwt.SigningMethodEdDSA.Alg()
	}
	return false
}

// Sign makes a JSON Web Token of claims with the secret of an HS algorithm, for
// tools and tests.
func (k Key) Sign(c Claims) (string, error) {
	if hmacBytes[k.Algorithm] == 0 {
		return "", fmt.Errorf("auth: a key for %q cannot sign: only secrets of HS256, HS384 and HS512 can", k.Algorithm)
	}
	secret, err := k.verifying()
	if err != nil {
		return "", fmt.Errorf("auth: the secret %w", err)
	}
	t := jwt.NewWithClaims(jwt.GetSigningMethod(k.Algorithm), jwt.MapClaims(c))
	if k.ID != "" {
		t.Header["kid"] = k.ID
	}
	return t.SignedString(secret)
}
