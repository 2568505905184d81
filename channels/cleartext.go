package channels

import (
	"net/http"
	"strings"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// ClearText is a policy for connections that come without TLS to a port that
// has it. Connections over Unix sockets are served in any case, and so are
// requests that another net/http server hands to [Endpoint.ServeHTTP].
type ClearText uint8

const (
	// ClearTextAllow serves them. It is the default, because a health check or a
	// proxy on the same machine may have no TLS; a program whose sockets carry
	// tokens should choose another policy.
	ClearTextAllow ClearText = iota
	// ClearTextRedirect answers a GET or HEAD for Options.Handler with 308 and the same
	// URL with https, and refuses the rest as ClearTextRefuse does: sockets, whose
	// clients follow no redirect, and requests with a body or an Authorization
	// header, which have told their secrets already.
	ClearTextRedirect
	// ClearTextRefuse answers every request with 403 and says why.
	ClearTextRefuse
)

// clearTextBody is what a client without TLS is told.
const clearTextBody = "this port is served over TLS only: use https:// or wss://\n"

// clearText applies Options.ClearText to the first request of a connection
// without TLS. Any answer ends the connection, so no later one has to be asked
// about.
func (f *front) clearText(r *websocket.Request) *admission.Refusal {
	e := f.endpoint
	if e.options.TLS == nil || e.options.ClearText == ClearTextAllow || !f.peer.IsValid() {
		return nil
	}
	if e.options.ClearText == ClearTextRedirect && e.redirectsClear(r) {
		return &admission.Refusal{Status: http.StatusPermanentRedirect, Header: http.Header{"Location": {"https://" + r.Host + pathAndQuery(r.Target)}}}
	}
	e.gate.Refusals.Malformed.Add(1)
	e.log.Debug("request without TLS refused").Str("path", r.Path).Addr("address", f.peer).Write()
	ref := admission.TextRefusal(http.StatusForbidden, clearTextBody)
	if r.Method == http.MethodHead {
		ref.Body = ""
	}
	return ref
}

// redirectsClear reports whether a request is for a page that a browser may be
// sent to again.
func (e *Endpoint) redirectsClear(r *websocket.Request) bool {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead, r.ContentLength != 0, r.Host == "":
		return false
	case len(r.Header["Authorization"]) > 0, r.WantsUpgrade():
		return false
	case e.mountAt(r.Path) != nil, e.pollAt(r.Path) != nil:
		return false
	}
	m, poll, ref := e.routed(r.Path)
	return m == nil && poll == nil && ref == nil
}

// pathAndQuery is a request target without its scheme and authority.
func pathAndQuery(target string) string {
	if _, rest, absolute := strings.Cut(target, "://"); absolute && !strings.HasPrefix(target, "/") {
		_, path, _ := strings.Cut(rest, "/")
		return "/" + path
	}
	return target
}

// plainBody is what a client is told that speaks TLS to a port without it.
const plainBody = "this port speaks plain HTTP: use http:// or ws://, or configure TLS\n"

// refuseTLS answers the first byte of a TLS handshake where there is no TLS.
// The answer is HTTP: clients then say what is wrong ("server gave HTTP
// response to HTTPS client" in Go, "wrong version number" in OpenSSL), which
// they do not for an alert.
func (f *front) refuseTLS(c *netloop.Conn) {
	f.endpoint.gate.Refusals.Malformed.Add(1)
	f.endpoint.log.Warn("TLS client refused: this port has no TLS").Addr("address", f.peer).Write()
	f.refuse(c, admission.TextRefusal(http.StatusBadRequest, plainBody))
}
