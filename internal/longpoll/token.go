package longpoll

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"
)

// Errors of [Signer.Verify]. Clients are not told which.
var (
	// ErrForged: the token is malformed or was not signed with this key.
	ErrForged = errors.New("longpoll: token is not signed with this key")
	// ErrStale: the token was issued too long ago.
	ErrStale = errors.New("longpoll: token is too old")
)

// SessionID names a session; it is random, so that it cannot be guessed.
type SessionID [16]byte

// NewSessionID returns a random one.
func NewSessionID() (id SessionID) {
	rand.Read(id[:]) // never returns an error
	return id
}

// Token is what a client presents to return to its session.
type Token struct {
	// Node identifies the node that has the session.
	Node uint64
	// Session is the session's name on that node.
	Session SessionID
	// Issued is when the token was signed, in whole milliseconds.
	Issued time.Time
}

// A token on the wire is base64url, because it travels in a query, without
// padding, of: version (1 byte), Node (8), Session (16), Issued in milliseconds
// since 1970 (8), and HMAC-SHA256 of all these (32).
const (
	tokenVersion = 1
	claimsSize   = 1 + 8 + 16 + 8
	tokenSize    = claimsSize + sha256.Size
)

// The strict decoder accepts only one spelling of a token.
var tokenEncoding = base64.RawURLEncoding.Strict()

// Signer signs tokens and checks them. It is safe for use by several
// goroutines.
type Signer struct{ key []byte }

// keySize is the size of the hash: RFC 2104 section 3.
const keySize = sha256.Size

// NewSigner returns a Signer with key, which has at least 32 bytes and is not
// kept; nil means a random key, which no other process knows.
func NewSigner(key []byte) *Signer {
	s := &Signer{key: append([]byte(nil), key...)}
	if key == nil {
		s.key = make([]byte, keySize)
		rand.Read(s.key) // never returns an error
	}
	return s
}

// Sign returns the token as it is sent.
func (s *Signer) Sign(t Token) string {
	b := make([]byte, 0, tokenSize)
	b = append(b, tokenVersion)
	b = binary.BigEndian.AppendUint64(b, t.Node)
	b = append(b, t.Session[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.Issued.UnixMilli()))
	b = s.appendMAC(b, b)
	return tokenEncoding.EncodeToString(b)
}

// Verify returns the decoded token if it was signed with this key at most maxAge ago.
// The error is ErrForged or ErrStale.
func (s *Signer) Verify(token string, now time.Time, maxAge time.Duration) (Token, error) {
	if len(token) != tokenEncoding.EncodedLen(tokenSize) {
		return Token{}, ErrForged
	}
	b, err := tokenEncoding.DecodeString(token)
	if err != nil || b[0] != tokenVersion {
		return Token{}, ErrForged
	}
	claims, mac := b[:claimsSize], b[claimsSize:]
	if !hmac.Equal(mac, s.appendMAC(nil, claims)) { // in constant time
		return Token{}, ErrForged
	}
	t := Token{Node: binary.BigEndian.Uint64(claims[1:])}
	copy(t.Session[:], claims[9:])
	t.Issued = time.UnixMilli(int64(binary.BigEndian.Uint64(claims[25:])))
	if now.Sub(t.Issued) > maxAge {
		return Token{}, ErrStale
	}
	return t, nil
}

func (s *Signer) appendMAC(dst, claims []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write(claims)
	return h.Sum(dst)
}
