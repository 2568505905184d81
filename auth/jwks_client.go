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

// namesPrivate reports whether the text of a host shows that it is private. What
// the text does not show is checked when the address is dialed.
func namesPrivate(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return !isPublic(addr)
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// notPublic are networks besides those that netip has words for: carriers' NAT,
// this network, benchmarks, protocol assignments (where one cloud has its metadata),
// what maps IPv4 into IPv6, also by a network's own prefix (RFC 8215), IPv6's old
// private addresses, and the address of Azure's host, which answers virtual machines
// only.
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

// refusePrivate is a net.Dialer.Control: it sees the address that a name has
// become, whoever has changed it since it was last looked at.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	if peer, err := netip.ParseAddrPort(address); err != nil || !isPublic(peer.Addr().WithZone("")) {
		return errors.New("the address is of this machine or of a private network")
	}
	return nil
}
