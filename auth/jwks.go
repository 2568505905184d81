package auth

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"
)

// JWKS are servers of keys (RFC 7517), as identity providers run them.
type JWKS struct {
	// URLs are where the keys are: https, or http on this machine.
	URLs []string `json:"urls" yaml:"urls"`
	// Algorithms are those that their keys count for. Default all that need no
	// secret; a key that states its own alg counts for that alone.
	Algorithms []string `json:"algorithms,omitempty" yaml:"algorithms,omitempty"`
	// Refresh is how often the keys are fetched. Default 15 m. Where a server
	// fails, the keys that it has had go on counting.
	Refresh Duration `json:"refresh,omitempty" yaml:"refresh,omitempty"`
	// UnknownKey is how often at most they are fetched between, because a token
	// names a key that there is not. Default 30 s.
	UnknownKey Duration `json:"unknown_key,omitempty" yaml:"unknown_key,omitempty"`
	// Timeout bounds a fetch. Default 5 s.
	Timeout Duration `json:"timeout,omitempty" yaml:"timeout,omitempty"`
	// AllowHTTP permits URLs without TLS on other machines: whoever is on the
	// way can then make tokens.
	AllowHTTP bool `json:"allow_http,omitempty" yaml:"allow_http,omitempty"`
	// PublicOnly fetches from nowhere but the internet: for options that come from
	// others, who must not make this program ask machines that they cannot reach
	// themselves. What a proxy of the environment reaches is the proxy's to decide.
	PublicOnly bool `json:"-" yaml:"-"`
}

const (
	maxJWKSBytes = 1 << 20 // of an answer
	maxJWKSURLs  = 16
	maxRedirects = 3
)

func (j JWKS) withDefaults() JWKS {
	setDefault(&j.Refresh, Duration(15*time.Minute))
	setDefault(&j.UnknownKey, Duration(30*time.Second))
	setDefault(&j.Timeout, Duration(5*time.Second))
	if len(j.Algorithms) == 0 {
		j.Algorithms = asymmetric
	}
	return j
}

func (j JWKS) check(p problems) {
	if len(j.URLs) == 0 || len(j.URLs) > maxJWKSURLs {
		p.add("/urls", "has %d: it must have from 1 to %d", len(j.URLs), maxJWKSURLs)
	}
	for i, s := range j.URLs {
		u, err := url.Parse(s)
		switch {
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
			p.add(fmt.Sprintf("/urls/%d", i), "is no address like \"https://example.com/.well-known/jwks.json\"")
		case j.PublicOnly && namesPrivate(u.Hostname()):
			p.add(fmt.Sprintf("/urls/%d", i), "is of this machine or of a private network: it must be on the internet")
		case !j.trusts(u):
			p.add(fmt.Sprintf("/urls/%d", i), "is http: it must be https, or allow_http must be true")
		}
	}
	for i, a := range j.Algorithms {
		if !slices.Contains(asymmetric, a) {
			p.add(fmt.Sprintf("/algorithms/%d", i), "is %q: it must be one of %s", a, strings.Join(asymmetric, ", "))
		}
	}
	for _, d := range []struct {
		field string
		value Duration
	}{{"/refresh", j.Refresh}, {"/unknown_key", j.UnknownKey}, {"/timeout", j.Timeout}} {
		if d.value < 0 {
			p.add(d.field, "is negative: leave it out for its default")
		}
	}
}

// trusts tells that nobody on the way to u can change what it answers.
func (j JWKS) trusts(u *url.URL) bool {
	if u.Scheme == "https" || j.AllowHTTP {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// namesPrivate tells that a host is no name of the internet, as far as its text
// says it: the rest shows when it is asked.
func namesPrivate(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return !isPublic(addr)
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// notPublic are networks besides those that netip has words for: carriers' NAT,
// this network, benchmarks, and what maps IPv4 into IPv6.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("2002::/16"),
}

func isPublic(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsGlobalUnicast() && !addr.IsPrivate() &&
		!slices.ContainsFunc(notPublic, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// refusePrivate is a net.Dialer.Control: it sees the address that a name has
// become, whoever has changed it since it was last looked at.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	if peer, err := netip.ParseAddrPort(address); err != nil || !isPublic(peer.Addr().WithZone("")) {
		return errors.New("the address is of this machine or of a private network")
	}
	return nil
}

// remoteKeys are the keys of JWKS servers.
type remoteKeys struct {
	algorithms []string
	keys       keyfunc.Keyfunc
	client     *http.Client
	stop       context.CancelFunc
}

// newRemoteKeys fetches the keys once. A server that does not answer is logged
// and asked again later.
func newRemoteKeys(o JWKS, log *zerolog.Logger) (*remoteKeys, error) {
	o = o.withDefaults()
	r := &remoteKeys{algorithms: o.Algorithms, client: o.client()}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	stores := make(map[string]jwkset.Storage)
	for _, u := range o.URLs {
		store, err := jwkset.NewStorageFromHTTP(u, jwkset.HTTPClientStorageOptions{
			Client: r.client, Ctx: ctx, HTTPTimeout: time.Duration(o.Timeout), RefreshInterval: time.Duration(o.Refresh),
			NoErrorReturnFirstHTTPReq: true, RefreshErrorHandler: logRefresh(u, log),
		})
		if err != nil {
			r.close()
			return nil, fmt.Errorf("auth: %w", err)
		}
		stores[u] = store
	}
	all, err := jwkset.NewHTTPClient(jwkset.HTTPClientOptions{
		HTTPURLs: stores, RefreshUnknownKID: rate.NewLimiter(rate.Every(time.Duration(o.UnknownKey)), 1),
		RateLimitWaitMax: time.Duration(o.Timeout), // and of the fetch itself
	})
	if err == nil {
		r.keys, err = keyfunc.New(keyfunc.Options{Ctx: ctx, Storage: all, UseWhitelist: []jwkset.USE{jwkset.UseSig, ""}})
	}
	if err != nil {
		r.close()
		return nil, fmt.Errorf("auth: %w", err)
	}
	return r, nil
}

// close ends what fetches.
func (r *remoteKeys) close() {
	r.stop()
	r.client.CloseIdleConnections()
}

// find returns the keys that may have signed a token. It may fetch, for a kid
// that it does not know.
func (r *remoteKeys) find(ctx context.Context, t *jwt.Token, id string) (found []any) {
	algorithm := t.Method.Alg()
	if id != "" {
		key, err := r.keys.KeyfuncCtx(ctx)(t)
		if err == nil && fits(key, algorithm) {
			found = append(found, key)
		}
		return found
	}
	all, err := r.keys.Storage().KeyReadAll(ctx)
	if err == nil && len(all) == 0 { // no server has answered yet: ask again
		r.keys.Storage().KeyRead(ctx, "") //nolint:errcheck // there is no such key
		all, err = r.keys.Storage().KeyReadAll(ctx)
	}
	if err != nil {
		return nil
	}
	for _, k := range all {
		m := k.Marshal()
		stated, use := m.ALG.String(), m.USE
		if (stated == "" || stated == algorithm) && (use == "" || use == jwkset.UseSig) {
			if key := publicOf(k.Key()); fits(key, algorithm) {
				found = append(found, key)
			}
		}
	}
	return found
}

// publicOf is the public part of a key that was published with its private one.
func publicOf(key any) any {
	if private, ok := key.(interface{ Public() crypto.PublicKey }); ok {
		return private.Public()
	}
	return key
}

// client fetches with bounds.
func (j JWKS) client() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = 64 << 10
	bounded := boundedTransport{Transport: transport, proxied: transport}
	if j.PublicOnly {
		bounded.Transport = transport.Clone()
		bounded.Proxy = nil
		bounded.DialContext = (&net.Dialer{Timeout: time.Duration(j.Timeout), Control: refusePrivate}).DialContext
	}
	return &http.Client{
		Transport: bounded, Timeout: time.Duration(j.Timeout),
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects || !j.trusts(r.URL) {
				return errors.New("redirected too often, or to an address without TLS")
			}
			return nil
		},
	}
}

// boundedTransport cuts answers off at maxJWKSBytes: what is left is no JSON.
type boundedTransport struct {
	*http.Transport
	proxied *http.Transport // for what the environment has a proxy for
}

// CloseIdleConnections is for http.Client.
func (t boundedTransport) CloseIdleConnections() {
	t.Transport.CloseIdleConnections()
	t.proxied.CloseIdleConnections()
}

// RoundTrip is http.RoundTripper's.
func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	way := t.Transport
	if proxy, err := t.proxied.Proxy(r); err != nil || proxy != nil {
		way = t.proxied
	}
	answer, err := way.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, maxJWKSBytes), answer.Body}
	return answer, nil
}

// logRefresh logs a fetch that failed, without the query of its address.
func logRefresh(address string, log *zerolog.Logger) func(context.Context, error) {
	shown := "jwks"
	if u, err := url.Parse(address); err == nil {
		shown = u.Scheme + "://" + u.Host + u.Path
	}
	return func(_ context.Context, err error) {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // without the whole address
		}
		log.Warn().Err(err).Str("jwks", shown).Msg("keys cannot be fetched: those that were fetched before count on")
	}
}
