package websocket

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"strings"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
)

const (
	// supportedVersion is the only Sec-WebSocket-Version (RFC 6455, 4.1).
	supportedVersion = "13"
	// nonceSize is the size in bytes of a decoded Sec-WebSocket-Key.
	nonceSize = 16
)

// WantsUpgrade reports whether the request names websocket in Upgrade, right
// or wrong in all else.
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
		// Its bytes would be taken for frames by us and for a body by a proxy.
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

// hasToken reports whether a header that is a list of tokens, over one line or
// several, has the token, in any case.
func (r *Request) hasToken(name, token string) (has bool) {
	for _, value := range r.Header[name] {
		if strings.EqualFold(value, token) {
			return true // the only one, as nearly always
		}
		httphead.ScanTokens([]byte(value), func(v []byte) bool {
			has = strings.EqualFold(string(v), token)
			return !has
		})
		if has {
			return true
		}
	}
	return false
}

// Protocols are the subprotocols that the client offers, in its order. They
// are split at commas and no more: phoenix.js offers a token in base64, whose
// slash is none of a subprotocol's characters (assets/js/phoenix/socket.js).
func (r *Request) Protocols() []string {
	var offered []string
	for _, value := range r.Header["Sec-Websocket-Protocol"] {
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.Trim(part, " \t"); part != "" {
				offered = append(offered, part)
			}
		}
	}
	return offered
}

// AcceptOptions is what a 101 says beside what RFC 6455 demands.
type AcceptOptions struct {
	// Protocol is the chosen subprotocol, "" for none. It is named only if the
	// client has offered it (RFC 6455, 4.2.2).
	Protocol string
	// Deflate is what NegotiateDeflate has picked of the client's offers; with
	// NoDeflate no extension is named.
	Deflate Deflate
}

// AppendAccept appends the 101 answer to a request head that has passed
// CheckUpgrade. head is not modified. The error is a *HandshakeError.
func AppendAccept(dst, head []byte, o AcceptOptions) ([]byte, error) {
	accepted, err := upgrade(dst, bytes.TrimPrefix(head, crlf), o)
	if err == nil {
		return accepted, nil
	}
	// The upgrader is stricter than HTTP: it does not know that Connection and
	// Upgrade may list several things or stand on several lines, as some
	// proxies write them. What is right all the same is put plainly.
	r, parseErr := ParseRequest(head)
	if parseErr != nil {
		return dst, parseErr
	}
	if checkErr := r.CheckUpgrade(); checkErr != nil {
		return dst, checkErr
	}
	accepted, err = upgrade(dst, r.plainHead(), o)
	if err != nil {
		return dst, badRequest("malformed WebSocket handshake")
	}
	return accepted, nil
}

// plainHead is a minimal head that asks for what r asks for.
func (r *Request) plainHead() []byte {
	var b bytes.Buffer
	b.WriteString("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n")
	b.WriteString("Sec-WebSocket-Key: " + r.Header.Get("Sec-Websocket-Key") + "\r\n")
	if offered := r.Protocols(); len(offered) > 0 {
		b.WriteString("Sec-WebSocket-Protocol: " + strings.Join(offered, ",") + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

// upgrade lets gobwas/ws read head and write its answer behind dst.
func upgrade(dst, head []byte, o AcceptOptions) ([]byte, error) {
	conn := headConn{head: head, appender: appender{dst}}
	upgrader := ws.Upgrader{}
	if o.Deflate != NoDeflate {
		upgrader.Header = ws.HandshakeHeaderString(o.Deflate.header())
	}
	if o.Protocol != "" {
		upgrader.ProtocolCustom = func(value []byte) (string, bool) {
			if offers(value, o.Protocol) {
				return o.Protocol, true
			}
			return "", true
		}
	}
	if _, err := upgrader.Upgrade(&conn); err != nil {
		return dst, err
	}
	return conn.b, nil
}

// offers reports whether a Sec-WebSocket-Protocol value lists protocol.
func offers(value []byte, protocol string) bool {
	for part := range bytes.SplitSeq(value, []byte(",")) {
		if string(bytes.Trim(part, " \t")) == protocol {
			return true
		}
	}
	return false
}

// headConn is the connection that the upgrader sees: it reads the collected
// head and writes to a slice.
type headConn struct {
	head []byte
	appender
}

func (c *headConn) Read(p []byte) (int, error) {
	if len(c.head) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.head)
	c.head = c.head[n:]
	return n, nil
}
