package channels

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/logging"
)

// OriginCheck decides whether a page from origin may connect. It is asked only
// when a request has an Origin: programs that are no browser send none.
type OriginCheck func(r *Request, origin *url.URL) bool

// SameHost accepts pages that were loaded from the host that they connect to,
// from any port and with any scheme: a development server beside this one, or a
// proxy that ends TLS. It is the default, as it is of Phoenix's check_origin.
// Cookies make no difference between ports either. IP addresses are the same
// however they are written.
func SameHost(r *Request, origin *url.URL) bool {
	return origin.Host != "" && admission.EqualHosts(origin.Hostname(), r.URL.Hostname())
}

// SameOrigin accepts pages that were loaded from the host and port that they
// connect to (Phoenix's check_origin: :conn). The scheme is not compared, because
// a proxy may have ended TLS.
func SameOrigin(r *Request, origin *url.URL) bool {
	return SameHost(r, origin) && admission.EqualPorts(origin.Port(), r.URL.Port())
}

// AnyOrigin accepts every page.
func AnyOrigin(*Request, *url.URL) bool { return true }

// Origins accepts pages from the given places and no others, written as for
// Phoenix's check_origin: "https://example.com", "//example.com" for any scheme
// and port, "//*.example.com" for a host and its subdomains, with a port if it
// matters. Apps that are pages in a shell of their own have schemes of their own:
// "capacitor://localhost", "ionic://localhost", "tauri://localhost". Two origins
// have no host: "file://", which is what Chromium and Electron send for a page
// from a file, and "null", which is what Firefox sends for one, and every browser
// for a sandboxed frame of any site.
//
// It panics on any other that has no host.
func Origins(allowed ...string) OriginCheck {
	places := make([]admission.Origin, len(allowed))
	for i, place := range allowed {
		var err error
		if places[i], err = admission.ParseOrigin(place); err != nil {
			panic("channels: " + err.Error())
		}
	}
	return func(_ *Request, origin *url.URL) bool {
		return slices.ContainsFunc(places, func(place admission.Origin) bool { return place.Matches(origin) })
	}
}

// originRefusal is the answer to a page that may not connect, and the line in the
// log: whoever develops the page sees one of the two.
func (e *Endpoint) originRefusal(m *mount, r *Request) *admission.Refusal {
	e.gate.Refusals.Origin.Add(1)
	origin := logging.Cut(strings.ToValidUTF8(r.Header.Get("Origin"), "?"))
	e.log.Warn("origin refused").Str("origin", origin).Str("host", r.URL.Host).Str("path", r.URL.Path).
		Str("allowed", m.options.OriginHelp).Write()
	ref := admission.TextRefusal(http.StatusForbidden, "a page from "+origin+" may not connect to "+r.URL.Host+". "+m.options.OriginHelp+"\n")
	ref.Header.Set("X-Content-Type-Options", "nosniff")
	return ref
}

// originHelp is the default of SocketOptions.OriginHelp.
func originHelp(check OriginCheck) string {
	if check == nil {
		return "Allowed are pages from the host that they connect to, from any port. SocketOptions.CheckOrigin allows others."
	}
	return "SocketOptions.CheckOrigin says which pages may."
}
