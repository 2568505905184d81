package forward

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Field is the header field with a [Claim]. Whatever a client sends in it is
// discarded.
const Field = "X-Mycelium-Forwarded"

// Claim is what a node says about the connection that a forwarded request came on.
//
// On the wire it is "1 PEER SCHEME CALLER MAC": the version; the peer's address and
// port, or "-"; http or https; "=" and the caller, escaped as in a query, or "-"; and
// the HMAC-SHA256 of all that precedes it, in base64url. The certificate, if there is
// one, stands before the MAC, as JSON in base64url. The MAC does not bind a claim
// to its request. TLS does; without it, everybody who can read the traffic between
// nodes must be trusted (see [Options.Insecure]).
type Claim struct {
	// Peer is the address that has connected, of a client or a proxy. It is zero for a
	// Unix socket.
	Peer netip.AddrPort
	// Secure reports whether the connection had TLS.
	Secure bool
	// Caller is the name of the API key with which the node has permitted the request;
	// empty if it is not a request for the API.
	Caller string
	// Certificate is that of the client; nil: it has none.
	Certificate *Certificate
}

// ErrClaim is the error for a request without a claim, or with one that no node of
// this cluster has signed.
var ErrClaim = errors.New("forward: the request does not come from a node of this cluster")

const claimVersion = "1"

// sign returns the signed form of a claim that is sent.
func (n *Node) sign(c Claim) string {
	peer, scheme, caller := "-", "http", "-"
	if c.Peer.IsValid() {
		peer = c.Peer.String()
	}
	if c.Secure {
		scheme = "https"
	}
	if c.Caller != "" {
		caller = "=" + url.QueryEscape(c.Caller)
	}
	text := claimVersion + " " + peer + " " + scheme + " " + caller
	if c.Certificate != nil {
		text += " " + c.Certificate.encode()
	}
	return text + " " + n.mac(text)
}

func (n *Node) mac(text string) string {
	h := hmac.New(sha256.New, n.key)
	h.Write([]byte(text)) // never returns an error
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// TakeClaim removes the claim from the header of a request that came to this node's
// listener. The error is ErrClaim.
func (n *Node) TakeClaim(h http.Header) (Claim, error) {
	values := h[Field]
	delete(h, Field)
	if len(values) == 0 { // if there are more, the node's own is the first
		return Claim{}, ErrClaim
	}
	cut := strings.LastIndexByte(values[0], ' ')
	if cut < 0 || !hmac.Equal([]byte(values[0][cut+1:]), []byte(n.mac(values[0][:cut]))) {
		return Claim{}, ErrClaim
	}
	return parseClaim(values[0][:cut])
}

func parseClaim(text string) (c Claim, err error) {
	parts := strings.Split(text, " ")
	if len(parts) < 4 || len(parts) > 5 || parts[0] != claimVersion {
		return Claim{}, ErrClaim
	}
	if parts[1] != "-" {
		if c.Peer, err = netip.ParseAddrPort(parts[1]); err != nil {
			return Claim{}, ErrClaim
		}
	}
	c.Secure = parts[2] == "https"
	if caller, ok := strings.CutPrefix(parts[3], "="); ok {
		if c.Caller, err = url.QueryUnescape(caller); err != nil {
			return Claim{}, ErrClaim
		}
	}
	if len(parts) == 5 {
		if c.Certificate, err = decodeCertificate(parts[4]); err != nil {
			return Claim{}, err
		}
	}
	return c, nil
}

// insertClaim returns request, which begins with a head, with the claim as its first
// header field.
func (n *Node) insertClaim(request []byte, c Claim) []byte {
	from := 0
	if bytes.HasPrefix(request, crlf) { // an empty line before the head is ignored
		from = len(crlf)
	}
	at := from + bytes.Index(request[from:], crlf) + len(crlf)
	field := Field + ": " + n.sign(c) + "\r\n"
	out := make([]byte, 0, len(request)+len(field))
	out = append(out, request[:at]...)
	out = append(out, field...)
	return append(out, request[at:]...)
}

var crlf = []byte("\r\n")
