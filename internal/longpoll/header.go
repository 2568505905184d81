package longpoll

import (
	"net/http"
	"strings"
)

// TokenHeader carries the session's token, AuthHeader a token of the
// application (assets/js/phoenix/longpoll.js). Browsers let a page set these
// fields, unlike those of a WebSocket handshake.
const (
	TokenHeader = "X-Phoenix-Longpoll-Token"
	AuthHeader  = "X-Phoenix-Authtoken"
)

// SetOpen lets pages of every origin read the answer, as long as they send no
// cookies. The Origin check has already decided whom to answer.
func SetOpen(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
}

// SetPreflight adds the answer to a browser's preflight request (OPTIONS),
// which asks what a page of another origin may send. asked is its
// Access-Control-Request-Headers.
func SetPreflight(h http.Header, asked []string) {
	if len(asked) > 0 {
		h.Set("Access-Control-Allow-Headers", strings.Join(asked, ", "))
	}
	h.Set("Access-Control-Allow-Methods", "get, post, options")
	h.Set("Access-Control-Max-Age", "3600")
}

// SetJSON adds the fields of an answer with a body. Since the token may be in a
// header, all polls can have the same URL, so no cache may keep an answer.
func SetJSON(h http.Header) {
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
}
