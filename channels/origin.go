package channels

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/logging"
)

// OriginCheck decides whether a page from origin may connect. It is called only for
// requests with an Origin header, which browsers send and other programs do not.
type OriginCheck func(r *Request, origin *url.URL) bool

// SameHost accepts pages from the host that they connect to, with any port and
// scheme: a development server may have another port, and a proxy may have ended
// TLS. It is the default, as in Phoenix's check_origin. Cookies do not tell ports
// apart either. IP addresses are compared by value.
func SameHost(r *Request, origin *url.URL) bool {
	return origin.Host != "" && admission.EqualHosts(origin.Hostname(), r.URL.Hostname())
}

// SameOrigin accepts pages from the host and port that they connect to (Phoenix's
// check_origin: :conn). It does not compare the scheme, because a proxy may have
// ended TLS.
func SameOrigin(r *Request, origin *url.URL) bool {
	return SameHost(r, origin) && admission.EqualPorts(origin.Port(), r.URL.Port())
}

// AnyOrigin accepts every page.
func AnyOrigin(*Request, *url.URL) bool { return true }

// Origins accepts pages from the given origins only, written as for Phoenix's
// check_origin: "https://example.com", "//example.com" for any scheme and port,
// "//*.example.com" for a host and its subdomains, each with or without a port.
// Apps that run a page in a shell have a scheme of their own:
// "capacitor://localhost", "ionic://localhost", "tauri://localhost". Two origins have
// no host: Chromium and Electron send "file://" for a page from a file, and Firefox
// sends "null"; every browser also sends "null" for a sandboxed frame of any site.
//
// Origins panics if any other origin has no host.
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

// originRefusal returns the answer to a page that may not connect, and logs the
// same, because developers of the page see one of the two.
func (e *Endpoint) originRefusal(m *mount, r *Request) *admission.Refusal {
	e.gate.Refusals.Origin.Add(1)
	origin := logging.Cut(strings.ToValidUTF8(r.Header.Get("Origin"), "?"))
	e.log.Warn("origin refused").Str("origin", origin).Str("host", r.URL.Host).Str("path", r.URL.Path).
		Str("allowed", m.options.OriginHelp).Write()
	ref := admission.TextRefusal(http.StatusForbidden, "a page from "+origin+" may not connect to "+cmp.Or(r.URL.Host, "this server")+". "+m.options.OriginHelp+"\n")
	ref.Header.Set("X-Content-Type-Options", "nosniff")
	return ref
}

// originHelp returns the default of SocketOptions.OriginHelp.
func originHelp(check OriginCheck) string {
	if check == nil {
		return "Allowed are pages from the host that they connect to, from any port. SocketOptions.CheckOrigin allows others."
	}
	return "SocketOptions.CheckOrigin says which pages may."
}
