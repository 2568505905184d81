package channels

import (
	"net/http"
	"net/netip"
	"net/url"
)

// Request is a client's request to connect. It is valid until Connect returns.
type Request struct {
	// Params are the parameters in the URL's query. Of two with the same name the last
	// counts. Over raw TCP, the parts of a request are in the first message.
	Params Params
	// URL has the path and the query and, as in Phoenix, the scheme and host of the
	// request.
	URL *url.URL
	// Header has the request's header fields. They share memory; use strings.Clone
	// to keep one for long, for example as an assign of the socket.
	Header http.Header
	// RemoteAddr is the client's address: the peer of the connection, or what one of
	// Options.TrustedProxies says. Its port is 0 if the proxy does not name one.
	RemoteAddr netip.AddrPort
	// Transport is "websocket", "longpoll" or "tcp".
	Transport string
	// Certificate is that with which the client has identified itself, if Options.TLS asks
	// for one and verifies it (tls.VerifyClientCertIfGiven or
	// tls.RequireAndVerifyClientCert); otherwise nil. [Socket.Certificate] has it later.
	Certificate *ClientCertificate

	authToken *string // nil: none was sent
}

// AuthToken returns the token that SocketOptions.AuthToken accepts. ok is false if
// the client sent none; an empty token is a token.
func (r *Request) AuthToken() (token string, ok bool) {
	if r.authToken == nil {
		return "", false
	}
	return *r.authToken, true
}
