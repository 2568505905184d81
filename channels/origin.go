package channels

import (
	"net"
	"net/url"
	"strings"
)

// OriginCheck decides whether a page from origin may connect. It is asked only
// when a request has an Origin: programs that are no browser send none.
type OriginCheck func(r *Request, origin *url.URL) bool

// SameOrigin accepts pages that were loaded from the host and port that they
// connect to. The scheme is not compared, because a proxy may have ended TLS.
func SameOrigin(r *Request, origin *url.URL) bool {
	return strings.EqualFold(withoutDefaultPort(origin.Host), withoutDefaultPort(r.URL.Host))
}

// AnyOrigin accepts every page.
func AnyOrigin(*Request, *url.URL) bool { return true }

// Origins accepts pages from the given places, written as for Phoenix's
// check_origin: "https://example.com", "//example.com" for any scheme and
// port, "//*.example.com" for a host's subdomains, with a port if it matters.
// It panics on one that has no host.
func Origins(allowed ...string) OriginCheck {
	rules := make([]originRule, len(allowed))
	for i, s := range allowed {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" {
			panic("channels: origin " + s + ": must look like https://example.com or //*.example.com")
		}
		rules[i] = originRule{scheme: u.Scheme, host: strings.ToLower(u.Hostname()), port: u.Port()}
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
type originRule struct{ scheme, host, port string }

func (rule originRule) matches(origin *url.URL) bool {
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
	return host == rule.host
}

var defaultPorts = map[string]string{"http": "80", "ws": "80", "https": "443", "wss": "443"}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return defaultPorts[u.Scheme]
}

// withoutDefaultPort makes example.com and example.com:443 the same.
func withoutDefaultPort(hostport string) string {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil || port != "80" && port != "443" {
		return hostport
	}
	return host
}

// originAllowed asks check about a request's Origin. "null", which sandboxed
// pages and redirects send, names no host and passes only AnyOrigin-like
// checks that do not look: Phoenix refuses it.
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
