package auth

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/units"
)

// The secret and the salt of Phoenix.Token's own examples; the tokens were
// signed by Phoenix.
var phoenixExample = PhoenixToken{SecretKeyBase: "kjoy3o1zeidquwy1398juxzldjlksahdk3", Salt: "user salt"}

var phoenixVectors = []struct {
	data   any
	token  string
	claims Claims // besides iat and exp
}{
	{99, "SFMyNTY.g2gDYWNuBgAAaOXPiwFiAAFRgA.52OM6lJfhfgnNB5_y482TTTYpHT_oDPFNclyZa6jkvk", Claims{"sub": json.Number("99")}},
	{"user:1", "SFMyNTY.g2gDbQAAAAZ1c2VyOjFuBgAAaOXPiwFiAAFRgA.Xo07p53ZNcwlUp1flrzlIZOVBTI4cb25Zw6KdKx0ULc", Claims{"sub": "user:1"}},
	{[]any{1, 2, 3}, "SFMyNTY.g2gDawADAQIDbgYAAGjlz4sBYgABUYA.wa5iTavlUO1xJex1d1420U9E0-yevIAYl9JPn_C4NtI",
		Claims{"data": []any{json.Number("1"), json.Number("2"), json.Number("3")}}},
	{map[atom]any{"user_id": 1}, "SFMyNTY.g2gDdAAAAAF3B3VzZXJfaWRhAW4GAABo5c-LAWIAAVGA.mEjkwGjHSILxiXOy4rBr3u0OG2oDeUfTsm1U-sItMW0",
		Claims{"user_id": json.Number("1")}},
}

// vectorTime is when they were signed.
var vectorTime = time.UnixMilli(1_700_000_000_000)

func TestPhoenixTokenVectors(t *testing.T) {
	key, err := phoenixExample.key()
	if got := hex.EncodeToString(key); err != nil || got != "a5af781c9ec8f05020d4b049294f55628391adbb2ddf0309905810397ddb19c3" {
		t.Errorf("key %s, %v", got, err)
	}
	for _, c := range phoenixVectors {
		signed, err := phoenixExample.Sign(c.data, vectorTime, 24*time.Hour)
		if err != nil || signed != c.token {
			t.Errorf("signing %v: %s, %v", c.data, signed, err)
		}
		inBubble(t, vectorTime.Add(time.Hour), func(t *testing.T) {
			v := newVerifier(t, Options{PhoenixToken: &phoenixExample})
			got, err := v.Verify(context.Background(), c.token)
			if err != nil {
				t.Fatalf("%v: %v", c.data, err)
			}
			c.claims["iat"], c.claims["exp"] = json.Number("1700000000"), json.Number("1700086400")
			if !reflect.DeepEqual(got.Claims, c.claims) || !got.Expires.Equal(vectorTime.Add(24*time.Hour)) {
				t.Errorf("%v: %v until %v", c.data, got.Claims, got.Expires)
			}
		})
	}
}

// inBubble runs a test as if it were at.
func inBubble(t *testing.T, at time.Time, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(at))
		test(t)
	})
}

func newVerifier(t testing.TB, o Options) *Verifier {
	t.Helper()
	v, err := New(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// assertRefused fails unless a token is refused for a reason.
func assertRefused(t testing.TB, v *Verifier, what, token string, reason Reason) {
	t.Helper()
	got, err := v.Verify(context.Background(), token)
	var ref *RefusedError
	if !errors.As(err, &ref) || ref.Reason != reason || got != nil {
		t.Errorf("%s: %v, %v; want it refused: %s", what, got, err, reason)
	}
}

// signTerm signs any term.
func signTerm(t testing.TB, term []byte, header string) string {
	t.Helper()
	key, err := phoenixExample.key()
	if err != nil {
		t.Fatal(err)
	}
	signed := header + "." + base64.RawURLEncoding.EncodeToString(term)
	return signed + "." + base64.RawURLEncoding.EncodeToString(macOf(signedBy[header], key, signed))
}

// signTuple signs a tuple, or a map of the oldest form.
func signTuple(t testing.TB, values ...any) string {
	t.Helper()
	term := []byte{etfVersion, etfSmallTuple, byte(len(values))}
	for _, v := range values {
		var err error
		if term, err = appendTerm(term, v); err != nil {
			t.Fatal(err)
		}
	}
	return signTerm(t, term, "SFMyNTY")
}

func TestPhoenixTokenAge(t *testing.T) {
	now := vectorTime.Add(time.Hour)
	at := vectorTime.UnixMilli()
	ms := now.UnixMilli()
	oldest, err := appendTerm([]byte{etfVersion}, map[atom]any{"data": "u", "signed": at})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		options PhoenixToken
		never   bool
		token   string
		want    Reason // empty: accepted
	}{
		"counts":                         {token: signTuple(t, "u", at, 3600+4)},
		"within the leeway":              {token: signTuple(t, "u", at, 3600-4)},
		"expired":                        {token: signTuple(t, "u", at, 3600-6), want: Expired},
		"age 0":                          {token: signTuple(t, "u", ms, 0), want: Expired},
		"age negative":                   {token: signTuple(t, "u", ms, -5), want: Expired},
		"fraction of a second":           {token: signTuple(t, "u", at, 3599.5)},
		"age enormous":                   {token: signTuple(t, "u", at, json.Number("1"+strings.Repeat("0", 100)))},
		"infinity":                       {token: signTuple(t, "u", at, atom("infinity")), want: MissingClaim},
		"infinity, allowed":              {token: signTuple(t, "u", at, atom("infinity")), never: true},
		"infinity, but our age":          {options: PhoenixToken{MaxAge: units.Duration(time.Minute)}, token: signTuple(t, "u", at, atom("infinity")), want: Expired},
		"our age is longer":              {options: PhoenixToken{MaxAge: units.Duration(2 * time.Hour)}, token: signTuple(t, "u", at, 10)},
		"our age is shorter":             {options: PhoenixToken{MaxAge: units.Duration(time.Minute)}, token: signTuple(t, "u", at, 86400), want: Expired},
		"no age: a day":                  {token: signTuple(t, "u", at)},
		"no age: older than a day":       {token: signTuple(t, "u", at-86_400_000), want: Expired},
		"the oldest form":                {token: signTerm(t, oldest, "SFMyNTY")},
		"signed ahead within the leeway": {token: signTuple(t, "u", ms+4000, 60)},
		"signed ahead":                   {token: signTuple(t, "u", ms+6000, 60)},
		"signed in year 1,000,000":       {token: signTuple(t, "u", json.Number("31494784780800000"), 60), want: Malformed},
		"signed before 1970":             {token: signTuple(t, "u", -1, 60), want: Malformed},
		"signed at a text":               {token: signTuple(t, "u", "now", 60), want: Malformed},
		"age a text":                     {token: signTuple(t, "u", at, "long"), want: Malformed},
		"four values":                    {token: signTuple(t, "u", at, 60, 1), want: Malformed},
		"no tuple":                       {token: signTerm(t, []byte{etfVersion, etfSmallInteger, 1}, "SFMyNTY"), want: Malformed},
	} {
		o := phoenixExample
		o.MaxAge = c.options.MaxAge
		inBubble(t, now, func(t *testing.T) {
			v := newVerifier(t, Options{PhoenixToken: &o, NoExpiry: c.never})
			if c.want != "" {
				assertRefused(t, v, name, c.token, c.want)
			} else if _, err := v.Verify(context.Background(), c.token); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

func TestPhoenixTokenForged(t *testing.T) {
	token := phoenixVectors[1].token
	other := phoenixExample
	other.Salt = "another salt"
	foreign, err := other.Sign("user:1", vectorTime, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	bomb := compressed(t, 10<<20, make([]byte, 10<<20))
	inBubble(t, vectorTime.Add(time.Hour), func(t *testing.T) {
		v := newVerifier(t, Options{PhoenixToken: &phoenixExample, MaxBytes: maxTokenBytes})
		for name, c := range map[string]struct {
			token string
			want  Reason
		}{
			"another salt":           {foreign, BadSignature},
			"no signature":           {token[:strings.LastIndexByte(token, '.')+1], BadSignature},
			"signature cut":          {token[:len(token)-3], BadSignature},
			"two parts":              {"SFMyNTY.g2gDYWNuBgAAaOXPiwFiAAFRgA", Malformed},
			"four parts":             {token + ".x", Malformed},
			"another header":         {strings.Replace(token, "SFMyNTY", "SFM1MTI", 1), BadSignature},
			"a line break":           {token[:len(token)-5] + "\r" + token[len(token)-5:], Malformed},
			"padded":                 {token + "=", Malformed},
			"another data":           {strings.Replace(token, "g2gD", "g2gE", 1), BadSignature},
			"a bomb, signed":         {signTerm(t, bomb, "SFMyNTY"), Malformed},
			"a function, signed":     {signTerm(t, unhex(t, "83 71 7702 6f73 7703 636d64 6101"), "SFMyNTY"), Malformed},
			"a bomb with no key":     {"SFMyNTY." + base64.RawURLEncoding.EncodeToString(bomb) + ".AAAA", BadSignature},
			"the other algorithms":   {strings.Replace(token, "SFMyNTY", "bm9uZQ", 1), BadAlgorithm},
			"spare bits of a base64": {token[:len(token)-1] + string(token[len(token)-1]+1), Malformed},
		} {
			assertRefused(t, v, name, c.token, c.want)
		}
		for _, header := range []string{"SFMyNTY", "SFMzODQ", "SFM1MTI"} {
			term, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := v.Verify(context.Background(), signTerm(t, term, header)); err != nil {
				t.Errorf("%s: %v", header, err)
			}
		}
	})
	if size := signedBy["SFM1MTI"]().Size(); size != sha512.Size {
		t.Errorf("HS512 signs with %d bytes", size)
	}
}

// A key is derived with the application's own parameters.
func TestPhoenixTokenKeyOptions(t *testing.T) {
	o := phoenixExample
	o.KeyIterations, o.KeyLength, o.KeyDigest = 7, 48, "sha512"
	now := time.Now()
	token, err := o.Sign("u", now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newVerifier(t, Options{PhoenixToken: &o}).Verify(context.Background(), token); err != nil {
		t.Error(err)
	}
	assertRefused(t, newVerifier(t, Options{PhoenixToken: &phoenixExample}), "other parameters", token, BadSignature)
}

func FuzzVerifyPhoenixToken(f *testing.F) {
	for _, c := range phoenixVectors {
		f.Add(c.token)
	}
	f.Add("SFMyNTY..")
	f.Add("eyJhbGciOiJIUzI1NiJ9.e30.x")
	v, err := New(Options{PhoenixToken: &phoenixExample, Keys: []Key{{Algorithm: "HS256", Secret: strings.Repeat("k", 32)}}, NoExpiry: true}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(v.Close)
	old := map[string]bool{}
	for _, c := range phoenixVectors {
		old[c.token] = true // signed rightly, and expired
	}
	f.Fuzz(func(t *testing.T, token string) {
		got, err := v.Verify(context.Background(), token)
		if err == nil {
			t.Fatalf("%q is accepted: %v", token, got)
		}
		var ref *RefusedError
		if !errors.As(err, &ref) || ref.Reason == Expired && !old[token] {
			t.Fatalf("%q: %v", token, err)
		}
	})
}
