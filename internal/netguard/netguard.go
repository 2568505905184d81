// Package netguard decides which addresses this program sends requests to, for
// others who may name addresses: keys of tokens, webhooks.
package netguard

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Options configure a [Transport].
type Options struct {
	// PublicOnly refuses addresses that are not on the public internet. A proxy
	// set in the environment decides by itself what it reaches.
	PublicOnly bool
	// DialTimeout bounds making a connection.
	DialTimeout time.Duration
	// IdleConns is how many unused connections to one host are kept; 0 is
	// net/http's default.
	IdleConns int
	// IdleTimeout is how long an unused connection is kept; 0 is net/http's
	// default.
	IdleTimeout time.Duration
	// TLS replaces Go's default configuration, unless it is nil.
	TLS *tls.Config
}

// maxHeader bounds the header of an answer, in bytes.
const maxHeader = 64 << 10

// Transport is an http.RoundTripper.
type Transport struct {
	direct  *http.Transport
	proxied *http.Transport // for addresses that have a proxy in the environment
}

// NewTransport returns a transport that keeps connections, and speaks HTTP/2
// with servers that do.
func NewTransport(o Options) *Transport {
	proxied := http.DefaultTransport.(*http.Transport).Clone()
	proxied.MaxResponseHeaderBytes = maxHeader
	if o.IdleConns > 0 {
		proxied.MaxIdleConns, proxied.MaxIdleConnsPerHost = o.IdleConns, o.IdleConns
	}
	if o.IdleTimeout > 0 {
		proxied.IdleConnTimeout = o.IdleTimeout
	}
	if o.TLS != nil {
		proxied.TLSClientConfig = o.TLS
	}
	dialer := &net.Dialer{Timeout: o.DialTimeout}
	proxied.DialContext = dialer.DialContext
	t := &Transport{direct: proxied, proxied: proxied}
	if o.PublicOnly {
		guarded := &net.Dialer{Timeout: o.DialTimeout, Control: refusePrivate}
		t.direct = proxied.Clone()
		t.direct.Proxy = nil
		t.direct.DialContext = guarded.DialContext
	}
	return t
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.direct == t.proxied {
		return t.direct.RoundTrip(r)
	}
	if proxy, err := t.proxied.Proxy(r); err != nil || proxy != nil {
		return t.proxied.RoundTrip(r)
	}
	return t.direct.RoundTrip(r)
}

// CloseIdleConnections is called by http.Client.
func (t *Transport) CloseIdleConnections() {
	t.direct.CloseIdleConnections()
	t.proxied.CloseIdleConnections()
}

// NotSent reports whether err, of a request, means that no connection was made,
// so that nothing of the request was sent.
func NotSent(err error) bool {
	var failed *net.OpError
	return errors.As(err, &failed) && failed.Op == "dial"
}

// NamesPrivate reports whether a host's name or literal address shows that it
// is private. Resolved addresses are checked when they are dialed.
func NamesPrivate(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return !IsPublic(addr)
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// IsLoopback reports whether a host's name or literal address is this machine's
// own, which nobody on the network can listen to.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
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

// IsPublic reports whether an address is on the public internet.
func IsPublic(addr netip.Addr) bool {
	addr = addr.Unmap()
	return addr.IsGlobalUnicast() && !addr.IsPrivate() &&
		!slices.ContainsFunc(notPublic, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// refusePrivate is a net.Dialer.Control. It sees the resolved address, so a
// name that resolves differently each time cannot evade it.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	if peer, err := netip.ParseAddrPort(address); err != nil || !IsPublic(peer.Addr().WithZone("")) {
		return errors.New("the address belongs to this machine or to a private network")
	}
	return nil
}
