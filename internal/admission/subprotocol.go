package admission

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
)

// Subprotocols says which WebSocket subprotocols a socket accepts.
type Subprotocols struct {
	// Accepted are the names, in the order of preference. With none, no
	// subprotocol is agreed on.
	Accepted []string
	// AuthToken accepts a token in the place of a subprotocol, and "phoenix",
	// which phoenix.js offers beside it.
	AuthToken bool
}

// tokenPrefix marks a subprotocol that carries a token. Browsers let a WebSocket
// send no other header (assets/js/phoenix/socket.js, AUTH_TOKEN_PREFIX).
const tokenPrefix = "base64url.bearer.phx."

// Negotiate chooses the first accepted subprotocol that the client offers, and
// returns the token among the offered ones, nil if there is none. It takes the
// token out of h, the header of the request. A client that offers subprotocols,
// but none that is accepted, is refused.
func (s *Subprotocols) Negotiate(offered []string, h http.Header) (chosen string, token *string, _ *Refusal) {
	accepted := s.Accepted
	if s.AuthToken {
		accepted = append([]string{"phoenix"}, accepted...)
		var err error
		if offered, token, err = takeToken(offered, h); err != nil {
			return "", nil, BadRequest
		}
	}
	if len(accepted) == 0 || len(offered) == 0 {
		return "", token, nil
	}
	for _, p := range accepted {
		if slices.Contains(offered, p) {
			return p, token, nil
		}
	}
	return "", token, Forbidden
}

// takeToken finds the token among the offered subprotocols and returns the
// others. Of two tokens neither counts, as in Phoenix.
func takeToken(offered []string, h http.Header) (rest []string, token *string, err error) {
	var tokens []string
	for _, p := range offered {
		if t, ok := strings.CutPrefix(p, tokenPrefix); ok {
			tokens = append(tokens, t)
		} else {
			rest = append(rest, p)
		}
	}
	if len(tokens) != 1 {
		return offered, nil, nil
	}
	decoded, err := decodeToken(tokens[0])
	if err != nil {
		return nil, nil, err
	}
	const header = "Sec-Websocket-Protocol"
	h.Del(header)
	if len(rest) > 0 {
		h.Set(header, strings.Join(rest, ", "))
	}
	return rest, &decoded, nil
}

// decodeToken accepts both alphabets of base64, with and without padding:
// phoenix.js writes the standard one in spite of the prefix.
func decodeToken(s string) (string, error) {
	s = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(s, "="))
	token, err := base64.RawStdEncoding.DecodeString(s)
	return string(token), err
}
