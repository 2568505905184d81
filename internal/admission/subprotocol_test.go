package admission

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestNegotiate(t *testing.T) {
	const prefix = "base64url.bearer.phx."
	const hard = "??>>~~\xff\xff" // has + and / in the standard alphabet
	encode := func(e *base64.Encoding, s string) string { return prefix + e.EncodeToString([]byte(s)) }
	token := func(s string) *string { return &s }
	chat := Subprotocols{Accepted: []string{"chat.v2", "chat.v1"}}
	tokens := Subprotocols{AuthToken: true}
	for _, c := range []struct {
		name   string
		s      Subprotocols
		offer  string
		chosen string
		token  *string
		left   string
		status int // 0: not refused
	}{
		{name: "the server's order", s: chat, offer: "chat.v1,chat.v2", chosen: "chat.v2"},
		{name: "one of several", s: chat, offer: "other,chat.v1", chosen: "chat.v1"},
		{name: "another case", s: chat, offer: "CHAT.V1", status: 403},
		{name: "only others", s: chat, offer: "other", status: 403},
		{name: "no offer", s: chat},
		{name: "nothing accepted", offer: "other"},
		{name: "standard alphabet", s: tokens, offer: "phoenix," + encode(base64.RawStdEncoding, hard), chosen: "phoenix", token: token(hard), left: "phoenix"},
		{name: "url alphabet", s: tokens, offer: "phoenix," + encode(base64.RawURLEncoding, hard), chosen: "phoenix", token: token(hard), left: "phoenix"},
		{name: "padded", s: tokens, offer: "phoenix," + encode(base64.StdEncoding, "abcd"), chosen: "phoenix", token: token("abcd"), left: "phoenix"},
		{name: "token first", s: tokens, offer: prefix + "YWJj,phoenix", chosen: "phoenix", token: token("abc"), left: "phoenix"},
		{name: "empty token", s: tokens, offer: "phoenix," + prefix, chosen: "phoenix", token: token(""), left: "phoenix"},
		{name: "token alone", s: tokens, offer: prefix + "YWJj", token: token("abc")},
		{name: "no token", s: tokens, offer: "phoenix", chosen: "phoenix", left: "phoenix"},
		{name: "two tokens", s: tokens, offer: "phoenix," + prefix + "YWJj," + prefix + "YWJj", chosen: "phoenix", left: "phoenix," + prefix + "YWJj," + prefix + "YWJj"},
		{name: "not base64", s: tokens, offer: "phoenix," + prefix + "a!b", status: 400},
		{name: "no token wanted", s: Subprotocols{Accepted: []string{"phoenix"}}, offer: "phoenix," + prefix + "YWJj", chosen: "phoenix", left: "phoenix," + prefix + "YWJj"},
	} {
		h := http.Header{}
		var offered []string
		if c.offer != "" {
			h.Set("Sec-WebSocket-Protocol", c.offer)
			offered = strings.Split(c.offer, ",")
		}
		chosen, got, ref := c.s.Negotiate(slices.Clone(offered), h)
		if ref != nil || c.status != 0 {
			if ref == nil || ref.Status != c.status {
				t.Errorf("%s: %+v, want %d", c.name, ref, c.status)
			}
			continue
		}
		if chosen != c.chosen || (got == nil) != (c.token == nil) || got != nil && *got != *c.token {
			t.Errorf("%s: %q, token %v", c.name, chosen, got)
		}
		if left := h.Get("Sec-WebSocket-Protocol"); c.s.AuthToken && left != c.left {
			t.Errorf("%s: the header has %q, want %q", c.name, left, c.left)
		}
	}
}
