package websocket

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"strings"
)

const (
	// supportedVersion is the only Sec-WebSocket-Version (RFC 6455, 4.1).
	supportedVersion = "13"
	// nonceSize is the size in bytes of a decoded Sec-WebSocket-Key.
	nonceSize = 16
	// acceptGUID is appended to the key before it is hashed (RFC 6455, 1.3).
	acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
)

// WantsUpgrade reports whether the request names websocket in Upgrade, even if
// it is otherwise invalid.
func (r *Request) WantsUpgrade() bool { return r.hasToken("Upgrade", "websocket") }

// CheckUpgrade checks the request against RFC 6455, 4.2.1, and returns what is
// wrong with it as a *HandshakeError: 400, or 426 for a version that is not
// 13. Where Phoenix runs connect before these checks (a plain GET that connect
// refuses is 403), the caller must do so too.
func (r *Request) CheckUpgrade() error {
	switch {
	case r.Method != http.MethodGet:
		return badRequest("a WebSocket handshake is a GET")
	case r.Proto == "HTTP/1.0":
		return badRequest("a WebSocket handshake is at least HTTP/1.1")
	case !r.hasToken("Upgrade", "websocket"):
		return badRequest("the Upgrade header does not name websocket")
	case !r.hasToken("Connection", "upgrade"):
		return badRequest("the Connection header does not name upgrade")
	case r.ContentLength != 0:
		// We would take its bytes for frames, and a proxy for a body.
		return badRequest("a WebSocket handshake has no body")
	}
	switch versions := r.Header["Sec-Websocket-Version"]; {
	case len(versions) == 0:
		return badRequest("no Sec-WebSocket-Version header")
	case len(versions) > 1 || versions[0] != supportedVersion:
		return &HandshakeError{Status: http.StatusUpgradeRequired, Reason: "Sec-WebSocket-Version is not 13"}
	}
	keys := r.Header["Sec-Websocket-Key"]
	if len(keys) != 1 || !validKey(keys[0]) {
		return badRequest("Sec-WebSocket-Key is not 16 bytes of base64")
	}
	return nil
}

func validKey(key string) bool {
	var nonce [18]byte // what 24 characters of base64 decode to at most
	if len(key) != base64.StdEncoding.EncodedLen(nonceSize) {
		return false
	}
	n, err := base64.StdEncoding.Decode(nonce[:], []byte(key))
	return err == nil && n == nonceSize
}

// listSpace is the white space around the elements of a list (RFC 9110,
// 5.6.3: OWS).
const listSpace = " \t"

// hasToken reports whether a header that is a list of tokens, in one or several
// lines, contains the token, ignoring case.
func (r *Request) hasToken(name, token string) bool {
	for _, value := range r.Header[name] {
		for part := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.Trim(part, listSpace), token) {
				return true
			}
		}
	}
	return false
}

// Protocols returns the subprotocols that the client offers, in its order. They
// are only split at commas, not checked: phoenix.js offers a token in base64,
// whose slash is not legal in a subprotocol (assets/js/phoenix/socket.js).
func (r *Request) Protocols() []string {
	var offered []string
	for _, value := range r.Header["Sec-Websocket-Protocol"] {
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.Trim(part, listSpace); part != "" {
				offered = append(offered, part)
			}
		}
	}
	return offered
}

// Accept is the content of a 101 answer.
type Accept struct {
	// Key is the client's Sec-WebSocket-Key.
	Key string
	// Protocol is the chosen subprotocol, one that the client has offered (RFC
	// 6455, 4.2.2); "" for none.
	Protocol string
	// Deflate is the result of NegotiateDeflate; with NoDeflate no extension is
	// named.
	Deflate Deflate
}

// Key returns the Sec-WebSocket-Key of a request that has passed CheckUpgrade.
func (r *Request) Key() string { return r.Header["Sec-Websocket-Key"][0] }

// AppendAccept appends the 101 answer to a request that has passed
// CheckUpgrade.
func AppendAccept(dst []byte, a Accept) []byte {
	var text [24 + len(acceptGUID)]byte // room for a valid key
	sum := sha1.Sum(append(append(text[:0], a.Key...), acceptGUID...))
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = base64.StdEncoding.AppendEncode(dst, sum[:])
	dst = append(dst, "\r\n"...)
	if a.Protocol != "" {
		dst = append(dst, "Sec-WebSocket-Protocol: "...)
		dst = append(dst, a.Protocol...)
		dst = append(dst, "\r\n"...)
	}
	if a.Deflate != NoDeflate {
		dst = append(dst, a.Deflate.header()...)
	}
	return append(dst, "\r\n"...)
}
