package longpoll

import (
	"net/http"
	"strings"
)

// TokenHeader carries the session's token; AuthHeader a token of the
// application's own (assets/js/phoenix/longpoll.js). Browsers let a page send
// both here, which they do not for a WebSocket.
const (
	TokenHeader = "X-Phoenix-Longpoll-Token"
	AuthHeader  = "X-Phoenix-Authtoken"
)

// SetOpen lets pages of every origin read the answer, as long as they send no
// cookies: whom to answer at all has been decided by the Origin check.
func SetOpen(h http.Header) {
	h.Set("Access-Control-Allow-Origin", "*")
}

// SetPreflight adds the answer to a browser that asks, with OPTIONS, what a
// page of another origin may send. asked is its Access-Control-Request-Headers.
func SetPreflight(h http.Header, asked []string) {
	if len(asked) > 0 {
		h.Set("Access-Control-Allow-Headers", strings.Join(asked, ", "))
	}
	h.Set("Access-Control-Allow-Methods", "get, post, options")
	h.Set("Access-Control-Max-Age", "3600")
}

// SetJSON adds the fields of an answer with a body. With the token in a header
// all polls have the same URL, so that no cache may keep what one client got.
func SetJSON(h http.Header) {
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
}
