package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/strictjson"
	"github.com/mycelium-rt/mycelium/units"
)

// authOptions returns the options of the default instance, nil if its clients
// need no token. It reads the public key's file.
func authOptions(c config.Auth) (*auth.Options, error) {
	if !c.Enabled() {
		return nil, nil
	}
	o := &auth.Options{
		Issuer: c.Issuer, Audience: c.Audience, Leeway: orNone(units.Duration(c.Leeway)), NoExpiry: c.NoExpiry,
		From: c.From, Param: c.Param, SocketID: c.SocketID, Assigns: map[string]string{"user": c.User},
		Join: c.Join, Publish: c.Publish, JoinClaim: c.JoinClaim, PublishClaim: c.PublishClaim, OnlyClaim: c.OnlyClaim,
		Warning: orNone(units.Duration(c.Warning)),
	}
	if c.Secret != "" {
		o.Keys = []auth.Key{{Algorithm: c.Algorithm, Secret: c.Secret}}
	}
	if c.PublicKeyFile != "" {
		text, err := os.ReadFile(c.PublicKeyFile)
		if err != nil {
			return nil, fmt.Errorf("%q cannot be read: %w", c.PublicKeyFile, withoutPath(err))
		}
		o.Keys = append(o.Keys, auth.Key{Algorithm: c.Algorithm, PublicKey: string(text)})
	}
	if len(c.JWKS) > 0 {
		o.JWKS = &auth.JWKS{URLs: c.JWKS, AllowHTTP: true} // the configuration check warns about it
	}
	if c.PhoenixSecret != "" {
		o.PhoenixToken = &auth.PhoenixToken{
			SecretKeyBase: c.PhoenixSecret, Salt: c.PhoenixSalt, MaxAge: units.Duration(c.PhoenixMaxAge),
		}
	}
	return o, o.Validate()
}

// orNone converts a duration for auth.Options, in which 0 means the default.
func orNone(d units.Duration) units.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// authKeys maps fields of auth.Options to keys of the configuration.
var authKeys = []struct{ field, key string }{
	{"/keys/0/secret", "auth.secret"}, {"/keys/0/public_key", "auth.public_key_file"}, {"/keys/0/alg", "auth.algorithm"},
	{"/jwks/urls", "auth.jwks"}, {"/phoenix_token/secret_key_base", "auth.phoenix_secret"},
	{"/phoenix_token/", "auth.phoenix_"}, {"/", "auth."},
}

// optionOf returns the option for a field of auth.Options, and the rest of the
// field's path.
func optionOf(field string) (key, below string) {
	for _, k := range authKeys {
		rest, ok := strings.CutPrefix(field, k.field)
		switch {
		case !ok:
		case strings.HasSuffix(k.field, "/"):
			name, rest, _ := strings.Cut(rest, "/")
			if rest != "" {
				rest = " (" + strings.ReplaceAll(rest, "/", ".") + ")"
			}
			return k.key + name, rest
		case rest != "":
			return k.key, " (" + strings.ReplaceAll(strings.TrimPrefix(rest, "/"), "/", ".") + ")"
		default:
			return k.key, ""
		}
	}
	return "auth", ""
}

// forAnybody is the auth of an instance that accepts clients without a token
// although the configuration requires tokens.
type forAnybody struct {
	Anybody bool `json:"anybody"`
}

func opens(text []byte) bool {
	var o forAnybody
	return strictjson.Decode(text, &o) == nil && o.Anybody
}

// specAuth decodes the field auth of an instance's spec: auth.Options as JSON;
// nil if its clients need no token. privateJWKS permits jwks in private
// networks, which is not the default because specs may come from others than
// the server's operator.
func specAuth(text []byte, privateJWKS bool) (*auth.Options, error) {
	if len(text) == 0 || string(text) == "null" || opens(text) {
		return nil, nil
	}
	o := new(auth.Options)
	var wrong, below fielderr.List
	switch err := strictjson.Decode(text, o); {
	case errors.As(err, &below):
		wrong.AddBelow("/auth", below)
		return nil, wrong
	case err != nil:
		return nil, fielderr.New("/auth", "%v", err)
	}
	if o.JWKS != nil {
		o.JWKS.PublicOnly = !privateJWKS
		wrong.AddBelow("/auth/jwks", tooOften(o.JWKS))
	}
	if errors.As(o.Validate(), &below) {
		wrong.AddBelow("/auth", below)
	}
	if len(wrong) > 0 {
		return nil, wrong
	}
	if _, named := o.Assigns["user"]; !named { // the built-in types identify clients by it
		assigns := map[string]string{"user": "sub"}
		for name, claim := range o.Assigns {
			assigns[name] = claim
		}
		o.Assigns = assigns
	}
	return o, nil
}

// Shortest intervals at which an instance may make the server ask a JWKS
// server.
const (
	minRefresh    = units.Duration(30 * time.Second)
	minUnknownKey = units.Duration(5 * time.Second)
)

func tooOften(j *auth.JWKS) (wrong fielderr.List) {
	for _, d := range []struct {
		field        string
		value, least units.Duration
	}{{"/refresh", j.Refresh, minRefresh}, {"/unknown_key", j.UnknownKey, minUnknownKey}} {
		if d.value > 0 && d.value < d.least {
			wrong.Add(d.field, "is %s: it must be at least %s", d.value, d.least)
		}
	}
	return wrong
}

// shownAuth returns the field auth of a spec without its secrets, nil if it
// cannot be decoded.
func shownAuth(text json.RawMessage) json.RawMessage {
	if opens(text) {
		return text
	}
	var o auth.Options
	if json.Unmarshal(text, &o) != nil {
		return nil
	}
	shown, err := json.Marshal(o.Redacted())
	if err != nil {
		return nil
	}
	return shown
}

// verifiers holds the verifiers of all instances. The manager asks for them
// again on a reload: if nothing has changed, the verifier is shared, so that
// keys are fetched once.
type verifiers struct {
	log *zerolog.Logger // static

	mu sync.Mutex
	by map[string]*sharedVerifier // by instance and options
}

// sharedVerifier is a verifier that is closed when its last user releases it.
type sharedVerifier struct {
	*auth.Verifier
	held int
}

// get returns a verifier that is valid until release is called. A new one is
// made without the lock, because it may have to fetch keys.
func (v *verifiers) get(id string, o auth.Options) (_ *auth.Verifier, release func(), err error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, nil, err
	}
	key := id + " " + string(text)
	if o.JWKS != nil && o.JWKS.PublicOnly {
		key += " public only"
	}
	if shared := v.holdVerifier(key, nil); shared != nil {
		return shared.Verifier, sync.OnceFunc(func() { v.release(key, shared) }), nil
	}
	log := v.log.With().Str("instance", id).Logger()
	verifier, err := auth.New(o, &log)
	if err != nil {
		return nil, nil, err
	}
	shared := v.holdVerifier(key, verifier)
	if shared.Verifier != verifier {
		verifier.Close()
	}
	return shared.Verifier, sync.OnceFunc(func() { v.release(key, shared) }), nil
}

// holdVerifier returns the verifier of a key with one more user. If there is
// none, it stores otherwise, unless that is nil.
func (v *verifiers) holdVerifier(key string, otherwise *auth.Verifier) *sharedVerifier {
	v.mu.Lock()
	defer v.mu.Unlock()
	shared := v.by[key]
	if shared == nil {
		if otherwise == nil {
			return nil
		}
		shared = &sharedVerifier{Verifier: otherwise}
		if v.by == nil {
			v.by = make(map[string]*sharedVerifier)
		}
		v.by[key] = shared
	}
	shared.held++
	return shared
}

func (v *verifiers) release(key string, shared *sharedVerifier) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if shared.held--; shared.held == 0 {
		delete(v.by, key)
		shared.Close()
	}
}
