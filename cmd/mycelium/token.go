package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/auth"
)

const tokenUsage = `mycelium token signs and verifies tokens as "mycelium serve" would with the same
flags, environment variables and file. auth.secret or auth.phoenix_secret signs them.

Usage:

  mycelium token sign [--sub NAME] [--claims JSON] [--ttl 1h] [--phoenix] [flags]
        Prints a JSON Web Token or, with --phoenix or without auth.secret, a token
        like those of Phoenix.Token. If the claims have no iss or aud, they are set
        to what the server requires.
  mycelium token verify [TOKEN] [flags]
        Prints what a token allows, or why it is refused. Without TOKEN, the token is
        read from standard input, where other users of the machine cannot see it.
        The exit code is 0 if the token is valid, and 1 if it is not.

For example:

  export MYCELIUM_AUTH_SECRET=a-secret-of-32-bytes-at-the-least
  mycelium token sign --sub ada --claims '{"channels": {"join": ["room:*"]}}'
`

// tokens carries out "mycelium token".
func tokens(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	verb := ""
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	switch verb {
	case "sign":
		return signToken(args, environ, stdout, stderr)
	case "verify":
		return verifyToken(ctx, args, environ, stdin, stdout, stderr)
	case "help", "--help", "-h":
		fmt.Fprint(stdout, tokenUsage)
		return 0
	}
	return misused(stderr, "token", unknownCommand(verb, []string{"sign", "verify"}))
}

// loadAuth returns the configuration's auth.Options, or the exit code.
func loadAuth(args, environ []string, stdout, stderr io.Writer) (*auth.Options, int) {
	cfg, code := loadConfig(args, environ, tokenUsage, stdout, stderr)
	if cfg == nil {
		return nil, code
	}
	c := &checker{cfg: cfg}
	o := c.auth()
	err := c.err()
	if err == nil && o == nil {
		err = errors.New("no key is configured for tokens: set auth.secret, auth.public_key_file, auth.jwks or auth.phoenix_secret, for example with MYCELIUM_AUTH_SECRET")
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return nil, 2
	}
	return o, 0
}

func signToken(args, environ []string, stdout, stderr io.Writer) int {
	args, phoenix := without(args, "--phoenix")
	wanted := map[string]string{"--sub": "", "--claims": "{}", "--ttl": "1h"}
	args, err := takeFlags(args, wanted)
	var claims auth.Claims
	var ttl time.Duration
	if err == nil {
		claims, ttl, err = wantedClaims(wanted)
	}
	if err != nil {
		return misused(stderr, "token", err)
	}
	o, code := loadAuth(args, environ, stdout, stderr)
	if o == nil {
		return code
	}
	token, err := sign(o, claims, ttl, phoenix)
	if err != nil {
		return misused(stderr, "token", err)
	}
	fmt.Fprintln(stdout, token)
	return 0
}

func wantedClaims(flags map[string]string) (claims auth.Claims, ttl time.Duration, err error) {
	decoder := json.NewDecoder(strings.NewReader(flags["--claims"]))
	decoder.UseNumber()
	if err := decoder.Decode(&claims); err != nil || claims == nil || decoder.More() {
		return nil, 0, errors.New(`--claims is not a JSON object; it takes one, for example '{"role": "admin"}'`)
	}
	if sub := flags["--sub"]; sub != "" {
		claims["sub"] = sub
	}
	ttl, err = time.ParseDuration(flags["--ttl"])
	if err != nil || ttl < time.Second {
		return nil, 0, fmt.Errorf("--ttl: %q is not a duration of at least 1s, for example 90s or 1h", flags["--ttl"])
	}
	return claims, ttl, nil
}

// sign makes a token of the first kind for which there is a secret.
func sign(o *auth.Options, claims auth.Claims, ttl time.Duration, phoenix bool) (string, error) {
	now := time.Now()
	mayJWT := len(o.Keys) > 0 && o.Keys[0].Secret != ""
	switch {
	case phoenix && o.PhoenixToken == nil:
		return "", errors.New("--phoenix needs auth.phoenix_secret")
	case o.PhoenixToken != nil && (phoenix || !mayJWT):
		return o.PhoenixToken.Sign(phoenixData(claims), now, ttl)
	case !mayJWT:
		return "", errors.New("only the owner of the private key can sign for this server: there is neither auth.secret nor auth.phoenix_secret")
	}
	preset := auth.Claims{"iat": now.Unix(), "exp": now.Add(ttl).Unix()}
	if o.Issuer != "" {
		preset["iss"] = o.Issuer
	}
	if len(o.Audience) > 0 {
		preset["aud"] = o.Audience
	}
	for name, value := range claims {
		preset[name] = value
	}
	return o.Keys[0].Sign(preset)
}

// phoenixData returns what Phoenix applications sign: only the id if there are
// no other claims.
func phoenixData(claims auth.Claims) any {
	if sub, ok := claims["sub"]; ok && len(claims) == 1 {
		return sub
	}
	return map[string]any(claims)
}

func verifyToken(ctx context.Context, args, environ []string, stdin io.Reader, stdout, stderr io.Writer) int {
	token := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		token, args = args[0], args[1:]
	}
	o, code := loadAuth(args, environ, stdout, stderr)
	if o == nil {
		return code
	}
	if token == "" {
		text, err := io.ReadAll(io.LimitReader(stdin, 1<<20))
		if err != nil {
			return failed(stderr, "token", err)
		}
		token = strings.TrimSpace(string(text))
	}
	verifier, err := auth.New(*o, nil)
	if err != nil {
		return failed(stderr, "token", err)
	}
	defer verifier.Close()
	verified, err := verifier.Verify(ctx, token)
	if err != nil {
		return failed(stderr, "token", err)
	}
	return printToken(verified, stdout, stderr)
}

func printToken(t *auth.Token, stdout, stderr io.Writer) int {
	shown := struct {
		Claims   auth.Claims `json:"claims"`
		Expires  *time.Time  `json:"expires"` // null: never
		SocketID string      `json:"socket_id"`
		Join     []string    `json:"join"`
		Publish  []string    `json:"publish"`
		Only     []string    `json:"only,omitempty"`
	}{Claims: t.Claims, SocketID: t.SocketID, Join: t.Join, Publish: t.Publish}
	shown.Only, _ = t.Only()
	if !t.Expires.IsZero() {
		utc := t.Expires.UTC()
		shown.Expires = &utc
	}
	text, err := json.MarshalIndent(shown, "", "  ")
	if err != nil {
		return failed(stderr, "token", err)
	}
	fmt.Fprintln(stdout, string(text))
	return 0
}

// takeFlags removes flags of the command itself from the server's flags, given
// as --name=value or --name value, and puts their values into wanted.
func takeFlags(args []string, wanted map[string]string) (rest []string, err error) {
	for i := 0; i < len(args); i++ {
		name, value, whole := strings.Cut(args[i], "=")
		if _, ours := wanted[name]; !ours {
			rest = append(rest, args[i])
			continue
		}
		if !whole {
			if i++; i == len(args) {
				return nil, fmt.Errorf("%s needs a value", name)
			}
			value = args[i]
		}
		wanted[name] = value
	}
	return rest, nil
}
