package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/MicahParks/jwkset"
)

// publishedKey is one key of a JWKS that can verify tokens.
type publishedKey struct {
	id        string // its kid; empty: none
	algorithm string // its alg; empty: any that fits
	key       any    // what golang-jwt takes to verify
}

// matches reports whether k may have signed a token of an algorithm. id is the
// kid of the token, empty if it has none. A kid alone is not enough: a set may
// have keys of several types with one kid (RFC 7517, 4.5).
func (k *publishedKey) matches(id, algorithm string) bool {
	return (id == "" || k.id == id) && (k.algorithm == "" || k.algorithm == algorithm) && fits(k.key, algorithm)
}

// Bounds of a set of keys. A token without kid is tried with every key that
// fits, and verifying with a long modulus is slow.
const (
	maxKeys    = 100
	maxRSABits = 16384
)

// parseKeys reads a JWKS. A key that cannot be used is left out, with the
// reason in skipped: implementations should ignore keys that they do not
// understand or that are malformed (RFC 7517, 5).
func parseKeys(text []byte) (keys []publishedKey, skipped []string, err error) {
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, nil, fmt.Errorf("not a JWKS: %w", err)
	}
	if set.Keys == nil {
		return nil, nil, errors.New(`not a JWKS: it has no "keys"`)
	}
	for i, raw := range *set.Keys {
		if len(keys) == maxKeys {
			skipped = append(skipped, fmt.Sprintf("keys from number %d on: only %d are used", i+1, maxKeys))
			break
		}
		k, err := parseJWK(raw)
		if err != nil {
			skipped = append(skipped, fmt.Sprintf("%s: %v", nameOfKey(i, raw), err))
			continue
		}
		keys = append(keys, k)
	}
	return keys, skipped, nil
}

// nameOfKey names a key for logs: by its kid, or by its position if it has
// none.
func nameOfKey(i int, raw json.RawMessage) string {
	var named struct {
		ID any `json:"kid"`
	}
	if json.Unmarshal(raw, &named) != nil || named.ID == nil {
		return fmt.Sprintf("key number %d", i+1)
	}
	return fmt.Sprintf("kid %.64q", fmt.Sprint(named.ID))
}

// jwkMembers are the members of a key that describe it and its purpose. Others,
// such as x5u and x5t, are not needed to verify.
type jwkMembers struct {
	Type         string   `json:"kty"`
	ID           string   `json:"kid"`
	Use          string   `json:"use"`
	Operations   []string `json:"key_ops"`
	Algorithm    string   `json:"alg"`
	Certificates []string `json:"x5c"`

	N     string `json:"n"` // RSA
	E     string `json:"e"`
	Curve string `json:"crv"` // EC, OKP
	X     string `json:"x"`
	Y     string `json:"y"`
}

// parseJWK reads one key. The error says why it cannot be used.
func parseJWK(raw json.RawMessage) (publishedKey, error) {
	var m jwkMembers
	if err := json.Unmarshal(raw, &m); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) && wrong.Field != "" {
			return publishedKey{}, fmt.Errorf("%s is a %s", wrong.Field, wrong.Value)
		}
		return publishedKey{}, errors.New("not an object")
	}
	switch {
	case m.Use != "" && m.Use != "sig":
		return publishedKey{}, fmt.Errorf("use is %.64q, not \"sig\"", m.Use)
	case m.Operations != nil && !slices.Contains(m.Operations, "verify"):
		return publishedKey{}, errors.New("key_ops do not include \"verify\"")
	case m.Algorithm != "" && !slices.Contains(asymmetric, m.Algorithm):
		return publishedKey{}, fmt.Errorf("alg is %.64q: it must be one of %s", m.Algorithm, strings.Join(asymmetric, ", "))
	}
	key, err := m.publicKey()
	if err != nil {
		return publishedKey{}, err
	}
	if m.Algorithm != "" && !fits(key, m.Algorithm) {
		return publishedKey{}, fmt.Errorf("not a key for its alg, %s", m.Algorithm)
	}
	return publishedKey{m.ID, m.Algorithm, key}, m.checkCertificate(key)
}

// publicKey decodes the key with jwkset, which gets only the members for the
// key's type.
func (m *jwkMembers) publicKey() (any, error) {
	members := jwkset.JWKMarshal{KTY: jwkset.KTY(m.Type), CRV: jwkset.CRV(m.Curve), X: m.X, Y: m.Y, N: m.N, E: m.E}
	switch m.Type {
	case "RSA", "EC", "OKP":
	case "oct":
		return nil, errors.New("kty is oct: a secret must not be published")
	default:
		return nil, fmt.Errorf("kty is %.64q: it must be RSA, EC or OKP", m.Type)
	}
	read, err := jwkset.NewJWKFromMarshal(members, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return nil, err
	}
	switch key := read.Key().(type) {
	case *rsa.PublicKey:
		return key, checkRSA(key)
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return key, nil
	}
	return nil, fmt.Errorf("crv is %.64q: its keys sign nothing", m.Curve)
}

// checkRSA refuses keys that are too short to be safe, or so long that
// verifying is slow.
func checkRSA(key *rsa.PublicKey) error {
	switch bits := key.N.BitLen(); {
	case bits < minRSABits || bits > maxRSABits:
		return fmt.Errorf("n has %d bits: it must have from %d to %d", bits, minRSABits, maxRSABits)
	case key.N.Bit(0) == 0:
		return errors.New("n is even")
	case key.E < 3 || key.E%2 == 0:
		return errors.New("e is not an odd number from 3 on")
	}
	return nil
}

// checkCertificate returns an error unless the first certificate of x5c, if
// there is one, is for key (RFC 7517, 4.7).
func (m *jwkMembers) checkCertificate(key any) error {
	if m.Certificates == nil {
		return nil
	}
	if len(m.Certificates) == 0 {
		return errors.New("x5c is empty")
	}
	der, err := base64.StdEncoding.DecodeString(m.Certificates[0])
	if err != nil {
		return errors.New("x5c is not base64")
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return errors.New("x5c has no certificate that can be read")
	}
	if public, ok := key.(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(certificate.PublicKey) {
		return errors.New("x5c has the certificate of another key")
	}
	return nil
}
