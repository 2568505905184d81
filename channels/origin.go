package channels

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"

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
	return origin.Host != "" && sameHost(origin.Hostname(), r.URL.Hostname())
}

// SameOrigin accepts pages that were loaded from the host and port that they
// connect to (Phoenix's check_origin: :conn). The scheme is not compared, because
// a proxy may have ended TLS.
func SameOrigin(r *Request, origin *url.URL) bool {
	return SameHost(r, origin) && withoutDefault(origin.Port()) == withoutDefault(r.URL.Port())
}

func sameHost(a, b string) bool {
	if strings.EqualFold(a, b) {
		return true
	}
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	return err1 == nil && err2 == nil && x.Unmap() == y.Unmap()
}

// withoutDefault makes example.com, example.com:80 and example.com:443 the same.
func withoutDefault(port string) string {
	if port == "80" || port == "443" {
		return ""
	}
	return port
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
	rules := make([]originRule, len(allowed))
	for i, s := range allowed {
		u, err := url.Parse(s)
		switch {
		case s == "null", s == "file://":
		case err != nil || u.Host == "":
			panic("channels: origin " + s + ": must look like https://example.com or //*.example.com, or be null or file://")
		}
		rules[i] = originRule{scheme: u.Scheme, host: strings.ToLower(u.Hostname()), port: u.Port(), null: s == "null"}
	}
	return func(_ *Request, origin *url.URL) bool {
		for _, rule := range rules {
			if rule.matches(origin) {
				return true
			}
		}
		return false
	}
}

// originRule is one place; an empty field matches anything.
type originRule struct {
	scheme, host, port string
	null               bool // the origin "null" and nothing else
}

func (rule originRule) matches(origin *url.URL) bool {
	if rule.null {
		return *origin == nullOrigin
	}
	if rule.scheme != "" && rule.scheme != origin.Scheme {
		return false
	}
	// A rule with a scheme and no port means the scheme's own port.
	port := rule.port
	if port == "" && rule.scheme != "" {
		port = defaultPorts[rule.scheme]
	}
	if port != "" && port != portOf(origin) {
		return false
	}
	host := strings.ToLower(origin.Hostname())
	if parent, wild := strings.CutPrefix(rule.host, "*."); wild {
		return host == parent || strings.HasSuffix(host, "."+parent)
	}
	return sameHost(host, rule.host)
}

// nullOrigin is what "null" is parsed to.
var nullOrigin = url.URL{Path: "null"}

var defaultPorts = map[string]string{"http": "80", "ws": "80", "https": "443", "wss": "443"}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return defaultPorts[u.Scheme]
}

// originAllowed asks check about a request's Origin. "null" is passed on as an
// origin without a host.
func originAllowed(check OriginCheck, r *Request) bool {
	values := r.Header.Values("Origin")
	if len(values) == 0 {
		return true
	}
	origin, err := url.Parse(values[0])
	if err != nil {
		origin = &url.URL{}
	}
	return check(r, origin)
}

// originRefusal is the answer to a page that may not connect, and the line in the
// log: whoever develops the page sees one of the two.
func (e *Endpoint) originRefusal(m *mount, r *Request) *refusal {
	e.counters.handshakes.origin.Add(1)
	origin := logging.Cut(strings.ToValidUTF8(r.Header.Get("Origin"), "?"))
	e.log.Warn("origin refused").Str("origin", origin).Str("host", r.URL.Host).Str("path", r.URL.Path).
		Str("allowed", m.options.OriginHelp).Write()
	ref := textRefusal(http.StatusForbidden, "a page from "+origin+" may not connect to "+r.URL.Host+". "+m.options.OriginHelp+"\n")
	ref.header.Set("X-Content-Type-Options", "nosniff")
	return ref
}

// originHelp is the default of SocketOptions.OriginHelp.
func originHelp(check OriginCheck) string {
	if check == nil {
		return "Allowed are pages from the host that they connect to, from any port. SocketOptions.CheckOrigin allows others."
	}
	return "SocketOptions.CheckOrigin says which pages may."
}
