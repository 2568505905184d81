package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Requests are signed as Standard Webhooks describes (github.com/standard-webhooks/standard-webhooks,
// spec/standard-webhooks.md), for which there are libraries in many languages: an HMAC-SHA256 of the
// id, the time and the body, joined with dots, in base64.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp" // seconds since 1970
	HeaderSignature = "Webhook-Signature" // one or more of "v1,BASE64", separated by spaces
)

// Tolerance is how far the time of a request may differ from the clock of who checks it.
const Tolerance = 5 * time.Minute

// Bounds of a secret, in bytes. They are those of Standard Webhooks.
const (
	minSecret = 24
	maxSecret = 64
)

const (
	secretPrefix    = "whsec_"
	signatureScheme = "v1,"
)

// Secret is what a back end and this server share.
type Secret []byte

// NewSecret returns a random secret as text.
func NewSecret() string {
	key := make([]byte, 32)
	rand.Read(key)
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}

// ParseSecret returns the secret that a text stands for: 24 to 64 random bytes in base64, with or
// without "whsec_" before them.
func ParseSecret(text string) (Secret, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, secretPrefix))
	if err != nil {
		return nil, errors.New("is not base64: make one with openssl rand -base64 32")
	}
	if len(key) < minSecret || len(key) > maxSecret {
		return nil, fmt.Errorf("has %d bytes: it must have %d to %d, as openssl rand -base64 32 makes them", len(key), minSecret, maxSecret)
	}
	return key, nil
}

// Sign sets the header fields that sign a request.
func (s Secret) Sign(h http.Header, id string, at time.Time, body []byte) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	sum := s.mac(id, stamp, body)
	signature := make([]byte, len(signatureScheme)+base64.StdEncoding.EncodedLen(len(sum)))
	copy(signature, signatureScheme)
	base64.StdEncoding.Encode(signature[len(signatureScheme):], sum[:])
	h[HeaderID], h[HeaderTimestamp], h[HeaderSignature] = []string{id}, []string{stamp}, []string{string(signature)}
}

func (s Secret) mac(id, stamp string, body []byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, s)
	signed := make([]byte, 0, 128)
	signed = append(append(append(append(signed, id...), '.'), stamp...), '.')
	h.Write(signed)
	h.Write(body)
	h.Sum(sum[:0])
	return sum
}

// Errors of Verify.
var (
	ErrNotSigned = errors.New("webhook: the request has no valid signature")
	ErrTooOld    = errors.New("webhook: the request was signed too long ago, or the clocks differ")
)

// Verify checks the signature of a request with a body. It returns nil if one of the secrets has
// signed it within [Tolerance] of now.
func Verify(h http.Header, body []byte, now time.Time, secrets ...Secret) error {
	stamp := h.Get(HeaderTimestamp)
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || !signedBy(h, stamp, body, secrets) {
		return ErrNotSigned
	}
	if age := now.Sub(time.Unix(seconds, 0)); age > Tolerance || age < -Tolerance {
		return ErrTooOld
	}
	return nil
}

func signedBy(h http.Header, stamp string, body []byte, secrets []Secret) bool {
	for signature := range strings.FieldsSeq(h.Get(HeaderSignature)) {
		given, ok := strings.CutPrefix(signature, signatureScheme)
		if !ok {
			continue
		}
		decoded, err := base64.StdEncoding.DecodeString(given)
		if err != nil {
			continue
		}
		for _, s := range secrets {
			sum := s.mac(h.Get(HeaderID), stamp, body)
			if subtle.ConstantTimeCompare(sum[:], decoded) == 1 {
				return true
			}
		}
	}
	return false
}
