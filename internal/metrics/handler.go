package metrics

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Access says who may read the metrics.
type Access struct {
	// Networks may, if they connect themselves: a request that came through a
	// proxy says so, and then the address is the proxy's.
	Networks []netip.Prefix
	// Token may be sent as a bearer token, from anywhere; empty: none.
	Token string
}

// Handler answers with the metrics of a source.
type Handler struct {
	metrics http.Handler
	access  atomic.Pointer[Access]
}

// scrapes is how many are answered at a time; one more gets 503.
const scrapes = 4

// NewHandler returns a handler that answers nobody before SetAccess.
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
		answer(w, http.StatusUnauthorized, "Metrics are for the networks of metrics.allow, and for who sends metrics.token.\n")
		return
	}
	h.metrics.ServeHTTP(w, r)
}

// forwarded are the fields by which a proxy says that it is one.
var forwarded = []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"}

func (a *Access) allows(r *http.Request) bool {
	if scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); a.Token != "" && strings.EqualFold(scheme, "Bearer") {
		// Of one length, so that the time tells nothing of it.
		sent, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(a.Token))
		if subtle.ConstantTimeCompare(sent[:], want[:]) == 1 {
			return true
		}
	}
	for _, name := range forwarded {
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
