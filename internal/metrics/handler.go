package metrics

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/mycelium-rt/mycelium/internal/bearer"
)

// Access determines who may read the metrics. The zero Access admits nobody.
type Access struct {
	// Token is accepted as a bearer token; empty means none.
	Token string
	// Key reports whether a request has an API key that may read; nil means
	// that none may.
	Key func(r *http.Request) bool
	// Networks are addresses that may read without either, for a port that
	// serves only metrics. This excludes requests that came through a proxy,
	// which have the proxy's address, and requests to a name other than
	// localhost, which any web page could send by a name of its own (DNS
	// rebinding).
	Networks []netip.Prefix
}

// Handler serves the metrics of a source.
type Handler struct {
	metrics http.Handler
	access  atomic.Pointer[Access]
}

// scrapes is how many requests are answered at a time; further ones get 503.
const scrapes = 4

// NewHandler returns a handler that refuses all requests until SetAccess is
// called.
func NewHandler(source Source, version string) *Handler {
	h := &Handler{metrics: promhttp.HandlerFor(newRegistry(source, version), promhttp.HandlerOpts{MaxRequestsInFlight: scrapes})}
	h.SetAccess(Access{})
	return h
}

// SetAccess changes who may read, from the next request on.
func (h *Handler) SetAccess(a Access) { h.access.Store(&a) }

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.access.Load().allows(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		answer(w, http.StatusUnauthorized, "Send metrics.token, or an API key with scope read, as \"Authorization: Bearer …\". "+
			"On a port of their own (metrics.listen), metrics.allow admits addresses without it.\n")
		return
	}
	h.metrics.ServeHTTP(w, r)
}

// notDirect are header fields of proxies, and of browsers with a page of
// another server.
var notDirect = []string{"Origin", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"}

func (a *Access) allows(r *http.Request) bool {
	return a.hasToken(r) || a.Key != nil && a.Key(r) || a.isNear(r)
}

func (a *Access) hasToken(r *http.Request) bool {
	if token, ok := bearer.Token(r); ok && a.Token != "" {
		// Compare hashes, so that the time does not depend on the length.
		sent, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(a.Token))
		return subtle.ConstantTimeCompare(sent[:], want[:]) == 1
	}
	return false
}

// isNear reports whether a request comes from one of the networks.
func (a *Access) isNear(r *http.Request) bool {
	if len(a.Networks) == 0 || !isPlainHost(r.Host) {
		return false
	}
	for _, name := range notDirect {
		if len(r.Header.Values(name)) > 0 {
			return false
		}
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	addr := peer.Addr().Unmap().WithZone("")
	for _, n := range a.Networks {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// isPlainHost reports whether a request's Host is an address or localhost,
// which others cannot point to this server.
func isPlainHost(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	_, err = netip.ParseAddr(host)
	return err == nil || strings.EqualFold(host, "localhost")
}
