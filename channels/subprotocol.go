package channels

import (
	"encoding/base64"
	"slices"
	"strings"
)

// tokenPrefix marks a subprotocol that is none but carries a token, because
// browsers let a WebSocket send no other header (assets/js/phoenix/socket.js,
// AUTH_TOKEN_PREFIX).
const tokenPrefix = "base64url.bearer.phx."

// negotiate takes an auth token out of the offered subprotocols and chooses
// one of the rest: the first of the server's that the client offers.
func (o *SocketOptions) negotiate(offered []string, r *Request) (chosen string, _ *refusal) {
	accepted := o.Subprotocols
	if o.AuthToken {
		accepted = append([]string{"phoenix"}, accepted...)
		var err error
		if offered, err = r.takeToken(offered); err != nil {
			return "", badRequest
		}
	}
	if len(accepted) == 0 || len(offered) == 0 {
		return "", nil
	}
	for _, p := range accepted {
		if slices.Contains(offered, p) {
			return p, nil
		}
	}
	return "", forbidden
}

// takeToken finds the token among the offered subprotocols and returns the
// others. Of two tokens neither counts, as in Phoenix.
func (r *Request) takeToken(offered []string) (rest []string, err error) {
	var tokens []string
	for _, p := range offered {
		if t, ok := strings.CutPrefix(p, tokenPrefix); ok {
			tokens = append(tokens, t)
		} else {
			rest = append(rest, p)
		}
	}
	if len(tokens) != 1 {
		return offered, nil
	}
	token, err := decodeToken(tokens[0])
	if err != nil {
		return nil, err
	}
	r.authToken = &token
	const header = "Sec-Websocket-Protocol"
	r.Header.Del(header)
	if len(rest) > 0 {
		r.Header.Set(header, strings.Join(rest, ", "))
	}
	return rest, nil
}

// decodeToken takes both alphabets of base64, padded or not: phoenix.js
// writes the standard one in spite of the prefix.
func decodeToken(s string) (string, error) {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	token, err := base64.RawStdEncoding.DecodeString(s)
	return string(token), err
}
