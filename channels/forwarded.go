package channels

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// clientAddr returns the address of the client that sent a request with the
// fields h over a connection from peer: peer itself, unless that is one of
// Options.TrustedProxies. Of X-Forwarded-For it then takes the last address
// that is not a trusted proxy's: what stands before it, anybody can write.
//
// Only this field counts. A proxy passes on those that it does not know, so a
// second one (Forwarded, X-Real-IP) would be the client's own word.
func (e *Endpoint) clientAddr(peer netip.AddrPort, h http.Header) netip.AddrPort {
	if !e.trusts(peer.Addr()) {
		return peer
	}
	client := peer
	for _, field := range slices.Backward(h.Values("X-Forwarded-For")) {
		for _, text := range slices.Backward(strings.Split(field, ",")) {
			addr, ok := parseForwarded(strings.Trim(text, " \t"))
			if !ok { // "unknown", or not written by a proxy
				return client
			}
			client = addr
			if !e.trusts(addr.Addr()) {
				return client
			}
		}
	}
	return client
}

// trusts reports whether addr is a proxy's whose word counts.
func (e *Endpoint) trusts(addr netip.Addr) bool {
	if len(e.options.TrustedProxies) == 0 {
		return false
	}
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(e.options.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// parseForwarded reads an address with or without a port, as proxies write
// them: 192.0.2.1, 192.0.2.1:4000, 2001:db8::1, [2001:db8::1]:4000.
func parseForwarded(text string) (netip.AddrPort, bool) {
	if a, err := netip.ParseAddrPort(text); err == nil {
		return a, true
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	return netip.AddrPortFrom(a, 0), err == nil
}
