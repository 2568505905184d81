package auth

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// client returns an HTTP client with bounded redirects, time and size.
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

// boundedTransport cuts answers off at maxJWKSBytes, which makes them invalid
// JSON.
type boundedTransport struct {
	*http.Transport
	proxied *http.Transport // for addresses that have a proxy in the environment
}

// CloseIdleConnections is called by http.Client.
func (t boundedTransport) CloseIdleConnections() {
	t.Transport.CloseIdleConnections()
	t.proxied.CloseIdleConnections()
}

// RoundTrip implements http.RoundTripper.
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

// namesPrivate reports whether a host's name or literal address shows that it
// is private. Resolved addresses are checked when they are dialed.
func namesPrivate(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return !isPublic(addr)
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// notPublic are networks in addition to those that netip knows: carriers' NAT,
// this network, benchmarks, protocol assignments (where one cloud has its
// metadata), mappings of IPv4 into IPv6, including local prefixes (RFC 8215),
// IPv6's old private addresses, and the address of Azure's host, which answers
// only virtual machines.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2001::/32"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("168.63.129.16/32"),
}

func isPublic(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsGlobalUnicast() && !addr.IsPrivate() &&
		!slices.ContainsFunc(notPublic, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// refusePrivate is a net.Dialer.Control. It sees the resolved address, so a
// name that resolves differently each time cannot evade it.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	if peer, err := netip.ParseAddrPort(address); err != nil || !isPublic(peer.Addr().WithZone("")) {
		return errors.New("the address is of this machine or of a private network")
	}
	return nil
}
