package front

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// ClearText says what becomes of requests without TLS to a port that has it. The
// values are those of channels.ClearText.
type ClearText uint8

const (
	// ClearTextAllow serves them.
	ClearTextAllow ClearText = iota
	// ClearTextRedirect redirects requests for pages, and refuses the rest.
	ClearTextRedirect
	// ClearTextRefuse refuses them.
	ClearTextRefuse
)

// clearTextBody is what a client without TLS is told.
const (
	clearTextBody = "this port is served over TLS only: use https:// or wss://\n"
	clearTCPBody  = "this port is served over TLS only"
)

// refuseClearText applies Options.ClearText to the first request of a connection
// without TLS. Its answer ends the connection, so later requests need no check.
func (f *Front) refuseClearText(r *websocket.Request, peer netip.AddrPort, tcp bool) *admission.Refusal {
	o := &f.options
	if o.TLS == nil || o.ClearText == ClearTextAllow {
		return nil
	}
	if o.ClearText == ClearTextRedirect && !tcp && f.redirects(r) {
		location := "https://" + r.Host + pathAndQuery(r.Target)
		return &admission.Refusal{Status: http.StatusPermanentRedirect, Header: http.Header{"Location": {location}}}
	}
	o.Gate.Refusals.Malformed.Add(1)
	o.Log.Debug("request without TLS refused").Str("path", r.Path).Addr("address", peer).Write()
	if tcp {
		return admission.TextRefusal(http.StatusForbidden, clearTCPBody)
	}
	ref := admission.TextRefusal(http.StatusForbidden, clearTextBody)
	if r.Method == http.MethodHead {
		ref.Body = ""
	}
	return ref
}

// redirects reports whether a request is for a page that a browser may ask for
// again: not for a socket, and without anything secret that has been told already.
func (f *Front) redirects(r *websocket.Request) bool {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead, r.ContentLength != 0, r.Host == "":
		return false
	case len(r.Header["Authorization"]) > 0, r.WantsUpgrade():
		return false
	}
	place, ref := f.options.Find(r.Path)
	return place == Place{} && ref == nil
}

// pathAndQuery is a request target without its scheme and authority.
func pathAndQuery(target string) string {
	if _, rest, absolute := strings.Cut(target, "://"); absolute && !strings.HasPrefix(target, "/") {
		_, path, _ := strings.Cut(rest, "/")
		return "/" + path
	}
	return target
}
