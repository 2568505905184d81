package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// caller is who sent a request.
type caller struct {
	name string
	key  *Key // nil: somebody on this machine, where there are no keys
}

const challenge = `Bearer realm="mycelium"`

// authenticate finds out who sent a request.
func (a *API) authenticate(r *http.Request) (caller, error) {
	if len(a.keys) == 0 {
		return local(r)
	}
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		if r.URL.Path == Prefix+"/openapi.json" {
			return caller{name: "anybody", key: &Key{}}, nil
		}
		return caller{}, problem(http.StatusUnauthorized, "unauthorized", "A key is needed",
			"send an API key as \"Authorization: Bearer mk_…\"").with("WWW-Authenticate", challenge)
	}
	key := a.lookup(strings.TrimSpace(secret))
	if key == nil {
		return caller{}, problem(http.StatusUnauthorized, "unauthorized", "A key is needed",
			"this API key is not known here").with("WWW-Authenticate", challenge+`, error="invalid_token"`)
	}
	return caller{name: key.Name, key: key}, nil
}

// Allow decides whether a request may do what takes a scope, of all instances. An
// error is a [*Problem].
func (a *API) Allow(r *http.Request, s Scope) error {
	who, err := a.authenticate(r)
	if err != nil {
		return err
	}
	if who.key != nil && len(who.key.Instances) > 0 {
		return problem(http.StatusForbidden, "instance", "Not with this key", "this takes a key for all instances")
	}
	return who.authorize(s, "")
}

// proxied are the fields by which a proxy says that it is one.
var proxied = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"}

// local admits programs on the same machine. A proxy on it is one of them, which
// asks for others. So is a browser, so pages of others are kept out: those that
// reach this address by a name of their own (DNS rebinding), and those that
// send requests from their own site. Old browsers say that by Origin alone.
func local(r *http.Request) (caller, error) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return caller{}, problem(http.StatusForbidden, "no-keys", "Closed",
			"without keys the API answers this machine only: put a key into the configuration, which \"mycelium key new\" makes")
	}
	if !loopbackHost(r.Host) {
		return caller{}, problem(http.StatusForbidden, "no-keys", "Closed",
			"without keys the API answers to localhost and loopback addresses only, not to %q", r.Host)
	}
	for _, name := range proxied {
		if len(r.Header.Values(name)) > 0 {
			return caller{}, problem(http.StatusForbidden, "no-keys", "Closed",
				"without keys the API answers this machine only, and %s says that this request came through a proxy: put a key into the configuration, which \"mycelium key new\" makes", name)
		}
	}
	if !ownPage(r) {
		return caller{}, problem(http.StatusForbidden, "cross-site", "Closed", "without keys the API answers no pages of other sites")
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return caller{}, problem(http.StatusForbidden, "cross-site", "Closed", "without keys the API answers no pages of other sites")
	}
	return caller{name: "local"}, nil
}

// ownPage tells that a request comes from no page, or from one of this server.
func ownPage(r *http.Request) bool {
	for _, text := range r.Header.Values("Origin") {
		if origin, err := url.Parse(text); err != nil || !strings.EqualFold(origin.Host, r.Host) {
			return false
		}
	}
	return true
}

func loopbackHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// authorize decides whether the caller may do something, to an instance or, with
// id "", to none in particular.
func (c caller) authorize(s Scope, id string) error {
	if c.key == nil {
		return nil
	}
	if !c.key.allows(s) {
		return problem(http.StatusForbidden, "scope", "Not with this key", "this takes a key with scope %s", s)
	}
	if id != "" && !c.key.sees(id) {
		return problem(http.StatusForbidden, "instance", "Not with this key", "this key is not for instance %q", id)
	}
	return nil
}

// sees tells that the caller may know of an instance.
func (c caller) sees(id string) bool { return c.key == nil || c.key.sees(id) }
