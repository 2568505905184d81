package auth

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"math"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/units"
)

// PhoenixToken accepts tokens that a Phoenix application signs with
// Phoenix.Token.sign. The signed data becomes the claims: a map as it is, a
// text or a number as the claim sub, anything else as the claim data. iat and
// exp are added unless a map has them.
type PhoenixToken struct {
	// SecretKeyBase is the application's secret_key_base.
	SecretKeyBase string `json:"secret_key_base" yaml:"secret_key_base"`
	// Salt is the salt that the application signs with, such as "user socket".
	Salt string `json:"salt" yaml:"salt"`
	// MaxAge is how long a token is valid, whatever it states itself. Default:
	// what it states, or a day if it states nothing.
	MaxAge units.Duration `json:"max_age,omitempty" yaml:"max_age,omitempty"`
	// KeyIterations, KeyLength and KeyDigest are options of Phoenix.Token.
	// Defaults 1000, 32 and "sha256".
	KeyIterations int    `json:"key_iterations,omitempty" yaml:"key_iterations,omitempty"`
	KeyLength     int    `json:"key_length,omitempty" yaml:"key_length,omitempty"`
	KeyDigest     string `json:"key_digest,omitempty" yaml:"key_digest,omitempty"`
}

// digests are the hashes by Phoenix's names for them, and signedBy by the first
// part of a token, which is HS256, HS384 or HS512 in base64.
var (
	digests  = map[string]func() hash.Hash{"sha256": sha256.New, "sha384": sha512.New384, "sha512": sha512.New}
	signedBy = map[string]func() hash.Hash{"SFMyNTY": sha256.New, "SFMzODQ": sha512.New384, "SFM1MTI": sha512.New}
)

const (
	minKeyBase       = 20 // bytes; Plug refuses shorter ones for its cookies too
	maxKeyIterations = 1_000_000
	maxKeyLength     = 1024
	phoenixMaxAge    = 24 * time.Hour // of a token that states nothing
)

func (o PhoenixToken) withDefaults() PhoenixToken {
	setDefault(&o.KeyIterations, 1000)
	setDefault(&o.KeyLength, 32)
	setDefault(&o.KeyDigest, "sha256")
	return o
}

func (o PhoenixToken) check() (wrong fielderr.List) {
	o = o.withDefaults()
	switch {
	case o.SecretKeyBase == hidden:
		wrong.Add("/secret_key_base", "is %s, which only replaces a secret for display: write the secret itself", hidden)
	case len(o.SecretKeyBase) < minKeyBase:
		wrong.Add("/secret_key_base", "has %d bytes: it must have at least %d, as mix phx.gen.secret makes them", len(o.SecretKeyBase), minKeyBase)
	}
	if o.Salt == "" {
		wrong.Add("/salt", "is empty: it must be what the application gives to Phoenix.Token.sign")
	}
	if o.MaxAge < 0 {
		wrong.Add("/max_age", "is negative: leave it out for what the tokens say")
	}
	if o.KeyIterations < 1 || o.KeyIterations > maxKeyIterations {
		wrong.Add("/key_iterations", "is %d: it must be from 1 to %d", o.KeyIterations, maxKeyIterations)
	}
	if o.KeyLength < 1 || o.KeyLength > maxKeyLength {
		wrong.Add("/key_length", "is %d: it must be from 1 to %d", o.KeyLength, maxKeyLength)
	}
	if digests[o.KeyDigest] == nil {
		wrong.Add("/key_digest", "is %q: it must be sha256, sha384 or sha512", o.KeyDigest)
	}
	return wrong
}

// key derives the signing key. It takes about a millisecond.
func (o PhoenixToken) key() ([]byte, error) {
	o = o.withDefaults()
	digest := digests[o.KeyDigest]
	if digest == nil {
		return nil, fmt.Errorf("auth: key_digest %q: it must be sha256, sha384 or sha512", o.KeyDigest)
	}
	return pbkdf2.Key(digest, o.SecretKeyBase, []byte(o.Salt), o.KeyIterations, o.KeyLength)
}

// Sign makes a token like Phoenix.Token.sign. data consists of values of
// encoding/json: nil, booleans, strings, float64, json.Number, []any,
// map[string]any; and integers.
func (o PhoenixToken) Sign(data any, at time.Time, maxAge time.Duration) (string, error) {
	key, err := o.key()
	if err != nil {
		return "", err
	}
	term := []byte{etfVersion, etfSmallTuple, 3}
	for _, v := range []any{data, at.UnixMilli(), int64(maxAge / time.Second)} {
		if term, err = appendTerm(term, v); err != nil {
			return "", err
		}
	}
	signed := "SFMyNTY." + base64.RawURLEncoding.EncodeToString(term)
	return signed + "." + base64.RawURLEncoding.EncodeToString(macOf(sha256.New, key, signed)), nil
}

func macOf(digest func() hash.Hash, key []byte, text string) []byte {
	mac := hmac.New(digest, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// phoenixVerifier verifies tokens with a key that was derived once.
type phoenixVerifier struct {
	key      []byte
	maxAge   time.Duration // 0: what the token states
	leeway   time.Duration
	noExpiry bool
}

func newPhoenixVerifier(p PhoenixToken, o *Options) (*phoenixVerifier, error) {
	key, err := p.key()
	if err != nil {
		return nil, err
	}
	return &phoenixVerifier{key, time.Duration(p.MaxAge), time.Duration(o.Leeway), o.NoExpiry}, nil
}

// isPhoenixToken tells a Phoenix.Token from a JSON Web Token, whose header is a
// JSON object and begins differently.
func isPhoenixToken(token string) bool {
	header, _, _ := strings.Cut(token, ".")
	return signedBy[header] != nil
}

// verify returns the claims and the time of expiry, zero if there is none.
func (p *phoenixVerifier) verify(token string) (Claims, time.Time, *RefusedError) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || signedBy[parts[0]] == nil {
		return nil, time.Time{}, refused(Malformed, "not three parts")
	}
	strict := base64.RawURLEncoding.Strict()
	term, err1 := strict.DecodeString(parts[1])
	mac, err2 := strict.DecodeString(parts[2])
	if err1 != nil || err2 != nil {
		return nil, time.Time{}, refused(Malformed, "not base64")
	}
	if !hmac.Equal(mac, macOf(signedBy[parts[0]], p.key, parts[0]+"."+parts[1])) {
		return nil, time.Time{}, refused(BadSignature, "")
	}
	v, err := decodeTerm(term) // signed, but still bounded
	if err != nil {
		return nil, time.Time{}, refused(Malformed, err.Error())
	}
	data, signed, age, ok := signedData(v)
	if !ok {
		return nil, time.Time{}, refused(Malformed, "not data, time of signing and age")
	}
	return p.aged(data, signed, age)
}

// aged applies Plug's rules of age (lib/plug/crypto.ex, validate_age).
func (p *phoenixVerifier) aged(data any, signed time.Time, age time.Duration) (Claims, time.Time, *RefusedError) {
	if p.maxAge > 0 {
		age = p.maxAge
	}
	now := time.Now()
	expires := signed.Add(age)
	switch {
	case age == forever && !p.noExpiry:
		return nil, time.Time{}, refused(MissingClaim, "max_age is infinity")
	case age == forever:
		expires = time.Time{}
	case age <= 0 || expires.Add(p.leeway).Before(now):
		return nil, time.Time{}, refused(Expired, "")
	}
	return claimsOf(data, signed, expires), expires, nil
}

// forever is the age of a token that states infinity.
const forever = time.Duration(math.MaxInt64)

// signedData splits the signed term, in the forms of lib/plug/crypto.ex,
// decode.
func signedData(v any) (data any, signed time.Time, age time.Duration, ok bool) {
	var at, seconds any = nil, json.Number("86400")
	switch v := v.(type) {
	case []any:
		if len(v) != 2 && len(v) != 3 {
			return nil, signed, 0, false
		}
		if data, at = v[0], v[1]; len(v) == 3 {
			seconds = v[2]
		}
	case map[string]any:
		data, at = v["data"], v["signed"]
	}
	ms, isNumber := at.(json.Number)
	if !isNumber {
		return nil, signed, 0, false
	}
	n, err := ms.Int64()
	if err != nil || n < 0 || n > maxSigned {
		return nil, signed, 0, false
	}
	age, ok = ageOf(seconds)
	return data, time.UnixMilli(n), age, ok
}

// maxSigned and maxAge keep arithmetic on times from overflowing: the year 9999,
// and a century.
const (
	maxSigned = 253_402_300_799_999 // ms
	maxAge    = 100 * 365 * 24 * time.Hour
)

func ageOf(v any) (age time.Duration, ok bool) {
	switch v := v.(type) {
	case string:
		return forever, v == "infinity"
	case json.Number:
		seconds, err := v.Float64()
		if err != nil {
			return 0, false
		}
		if seconds > maxAge.Seconds() {
			return maxAge, true
		}
		return time.Duration(max(0, seconds) * float64(time.Second)), true
	}
	return 0, false
}

// claimsOf returns the claims for a token's data.
func claimsOf(data any, signed, expires time.Time) Claims {
	c := Claims{}
	switch data := data.(type) {
	case map[string]any:
		c = data
	case string, json.Number:
		c["sub"] = data
	default:
		c["data"] = data
	}
	stamp := func(name string, t time.Time) {
		if _, own := c[name]; !own && !t.IsZero() {
			c[name] = json.Number(fmt.Sprint(t.Unix()))
		}
	}
	stamp("iat", signed)
	stamp("exp", expires)
	return c
}
