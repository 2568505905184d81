package auth

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/units"
)

// Options determine which tokens are valid and what they permit. They are plain
// values with names for JSON and YAML.
type Options struct {
	// Keys verify JSON Web Tokens.
	Keys []Key `json:"keys,omitempty" yaml:"keys,omitempty"`
	// JWKS names servers whose keys verify JSON Web Tokens.
	JWKS *JWKS `json:"jwks,omitempty" yaml:"jwks,omitempty"`
	// PhoenixToken accepts tokens of Phoenix.Token.sign.
	PhoenixToken *PhoenixToken `json:"phoenix_token,omitempty" yaml:"phoenix_token,omitempty"`

	// Issuer, if not empty, is what the iss of a JSON Web Token must be.
	Issuer string `json:"issuer,omitempty" yaml:"issuer,omitempty"`
	// Audience, if not empty, lists audiences, one of which the aud of a JSON
	// Web Token must contain.
	Audience []string `json:"audience,omitempty" yaml:"audience,omitempty"`
	// Leeway is how far the clocks of this machine and of the signer may
	// differ: a token is valid, and its socket stays open, that much longer.
	// Default 5 s; negative: none.
	Leeway units.Duration `json:"leeway,omitempty" yaml:"leeway,omitempty"`
	// NoExpiry accepts tokens that never expire, which are otherwise refused.
	NoExpiry bool `json:"no_expiry,omitempty" yaml:"no_expiry,omitempty"`
	// MaxBytes bounds a token's length. Default 8,192, at most 65,536; a token
	// in a handshake is also bounded by channels.Limits.HeaderBytes.
	MaxBytes int `json:"max_bytes,omitempty" yaml:"max_bytes,omitempty"`

	// From is where a client may put its token: "params", the connect params, and
	// "auth_token", phoenix.js's authToken option. Default both.
	From []string `json:"from,omitempty" yaml:"from,omitempty"`
	// Param is the name of the connect param. Default "token".
	Param string `json:"param,omitempty" yaml:"param,omitempty"`

	// SocketID is the socket's id, with claims in braces: "users_socket:{sub}".
	// A token without such a claim is refused. Default none.
	SocketID string `json:"socket_id,omitempty" yaml:"socket_id,omitempty"`
	// Assigns are claims that the socket gets as assigns, by the names of the
	// assigns. In addition it gets all claims as the assign "claims", of type
	// [Claims].
	Assigns map[string]string `json:"assigns,omitempty" yaml:"assigns,omitempty"`

	// Join and Publish are patterns of the topics that every client with a
	// token may join, and may push events to. They may contain claims in
	// braces, "user:{sub}", and end in a * that stands for anything. The
	// default is none: only what the token itself permits is allowed. ["*"]
	// leaves the decision to the channels.
	Join    []string `json:"join,omitempty" yaml:"join,omitempty"`
	Publish []string `json:"publish,omitempty" yaml:"publish,omitempty"`
	// JoinClaim and PublishClaim name the claims with further patterns, for the
	// token that has them. The defaults are "channels.join" and
	// "channels.publish": the lists join and publish in the claim channels.
	JoinClaim    string `json:"join_claim,omitempty" yaml:"join_claim,omitempty"`
	PublishClaim string `json:"publish_claim,omitempty" yaml:"publish_claim,omitempty"`
	// OnlyClaim names the claim with patterns of the topics that a token is limited to:
	// of what the rules above permit, it permits only these. Default "channels.only".
	OnlyClaim string `json:"only_claim,omitempty" yaml:"only_claim,omitempty"`

	// Warning is how long before its token expires a client is warned, by a
	// push of the event "token_expiring" on each of its channels. Default 60 s;
	// negative: never.
	Warning units.Duration `json:"warning,omitempty" yaml:"warning,omitempty"`
}

// The values of Options.From.
const (
	FromParams    = "params"
	FromAuthToken = "auth_token"
)

const maxTokenBytes = 64 << 10

func (o Options) withDefaults() Options {
	setDefault(&o.Leeway, units.Duration(5*time.Second))
	setDefault(&o.MaxBytes, 8<<10)
	setDefault(&o.Param, "token")
	setDefault(&o.JoinClaim, "channels.join")
	setDefault(&o.PublishClaim, "channels.publish")
	setDefault(&o.OnlyClaim, "channels.only")
	setDefault(&o.Warning, units.Duration(time.Minute))
	o.Leeway, o.Warning = max(0, o.Leeway), max(0, o.Warning)
	if len(o.From) == 0 {
		o.From = []string{FromParams, FromAuthToken}
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate returns nil or a [fielderr.List]. It does not use the network.
func (o Options) Validate() error {
	var wrong fielderr.List
	if len(o.Keys) == 0 && o.JWKS == nil && o.PhoenixToken == nil {
		wrong.Add("", "has nothing to verify tokens with: give keys, jwks or phoenix_token")
	}
	for i, k := range o.Keys {
		wrong.AddBelow(fmt.Sprintf("/keys/%d", i), k.check())
	}
	if o.JWKS != nil {
		wrong.AddBelow("/jwks", o.JWKS.check())
	}
	if o.PhoenixToken != nil {
		wrong.AddBelow("/phoenix_token", o.PhoenixToken.check())
	}
	if o.MaxBytes < 0 || o.MaxBytes > maxTokenBytes {
		wrong.Add("/max_bytes", "is %d: it must be from 1 to %d, or 0 for 8192", o.MaxBytes, maxTokenBytes)
	}
	for i, from := range o.From {
		if from != FromParams && from != FromAuthToken {
			wrong.Add(fmt.Sprintf("/from/%d", i), "is %q: it must be %q or %q", from, FromParams, FromAuthToken)
		}
	}
	wrong = append(wrong, o.checkRules()...)
	return wrong.Err()
}

// checkRules checks the fields that decide what a token permits.
func (o Options) checkRules() (wrong fielderr.List) {
	if t, err := parseTemplate(o.SocketID); err != nil {
		wrong.Add("/socket_id", "%v: write it like \"users_socket:{sub}\"", err)
	} else if o.SocketID != "" && t.fixed() {
		wrong.Add("/socket_id", "has no claim, so that all clients would have the same id: write it like \"users_socket:{sub}\"")
	}
	for _, assign := range slices.Sorted(maps.Keys(o.Assigns)) {
		claim := o.Assigns[assign]
		if assign == "" || claim == "" || assign == claimsAssign {
			wrong.Add("/assigns", "has %q: %q: both must have names, and %q is taken", assign, claim, claimsAssign)
		}
	}
	wrong.AddBelow("/join", checkPatterns(o.Join))
	wrong.AddBelow("/publish", checkPatterns(o.Publish))
	return wrong
}

func checkPatterns(patterns []string) (wrong fielderr.List) {
	for i, s := range patterns {
		if _, err := parsePattern(s); err != nil {
			wrong.Add(fmt.Sprintf("/%d", i), "%v: write it like \"room:*\" or \"user:{sub}\"", err)
		}
	}
	return wrong
}

// hidden replaces a secret.
const hidden = "***"

// Redacted returns a copy without secrets, for display.
func (o Options) Redacted() Options {
	keys := make([]Key, len(o.Keys))
	for i, k := range o.Keys {
		keys[i] = k
		hide(&keys[i].Secret)
		hide(&keys[i].SecretBase64)
	}
	if len(keys) > 0 {
		o.Keys = keys
	}
	if o.JWKS != nil {
		jwks := *o.JWKS
		jwks.URLs = make([]string, len(o.JWKS.URLs))
		for i, u := range o.JWKS.URLs {
			jwks.URLs[i] = redactURL(u)
		}
		o.JWKS = &jwks
	}
	if o.PhoenixToken != nil {
		phoenix := *o.PhoenixToken
		hide(&phoenix.SecretKeyBase)
		o.PhoenixToken = &phoenix
	}
	return o
}

func hide(secret *string) {
	if *secret != "" {
		*secret = hidden
	}
}
