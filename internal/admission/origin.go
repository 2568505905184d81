package admission

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// Origin is a place that pages may come from.
type Origin struct {
	scheme string // "" is any
	host   string // in lower case; *.example.com is example.com and its subdomains
	port   string // "" is that of the scheme, or any without a scheme
	null   bool   // the origin "null" and nothing else
}

// ParseOrigin reads an origin as it is written for Phoenix's check_origin:
// "https://example.com", "//example.com", "//*.example.com:4000". Only "null" and
// "file://" have no host.
func ParseOrigin(s string) (Origin, error) {
	u, err := url.Parse(s)
	switch {
	case s == "null", s == "file://":
	case err != nil || u.Host == "":
		return Origin{}, fmt.Errorf("origin %s: must look like https://example.com or //*.example.com, or be null or file://", s)
	}
	return Origin{scheme: u.Scheme, host: strings.ToLower(u.Hostname()), port: u.Port(), null: s == "null"}, nil
}

// Matches reports whether a page from origin comes from o.
func (o Origin) Matches(origin *url.URL) bool {
	if o.null {
		return *origin == nullOrigin
	}
	if o.scheme != "" && o.scheme != origin.Scheme {
		return false
	}
	port := o.port
	if port == "" && o.scheme != "" { // the scheme's own
		port = defaultPorts[o.scheme]
	}
	if port != "" && port != portOf(origin) {
		return false
	}
	host := strings.ToLower(origin.Hostname())
	if parent, wild := strings.CutPrefix(o.host, "*."); wild {
		return host == parent || strings.HasSuffix(host, "."+parent)
	}
	return EqualHosts(host, o.host)
}

// RequestOrigin returns the Origin of a request, nil if it has none: programs
// other than browsers send none. One that cannot be parsed is the empty URL.
// "null" is a URL without a host.
func RequestOrigin(h http.Header) *url.URL {
	values := h.Values("Origin")
	if len(values) == 0 {
		return nil
	}
	origin, err := url.Parse(values[0])
	if err != nil {
		return &url.URL{}
	}
	return origin
}

// EqualHosts reports whether two hosts without ports are the same, however an IP
// address is written.
func EqualHosts(a, b string) bool {
	if strings.EqualFold(a, b) {
		return true
	}
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	return err1 == nil && err2 == nil && x.Unmap() == y.Unmap()
}

// EqualPorts reports whether two ports are the same. The default ports of HTTP and
// HTTPS are, because a proxy may have ended TLS.
func EqualPorts(a, b string) bool { return withoutDefault(a) == withoutDefault(b) }

func withoutDefault(port string) string {
	if port == "80" || port == "443" {
		return ""
	}
	return port
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
