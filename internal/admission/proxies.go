package admission

import (
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the addresses of the reverse proxies whose X-Forwarded-For counts.
type Proxies []netip.Prefix

// Trust reports whether addr is a proxy's.
func (p Proxies) Trust(addr netip.Addr) bool {
	if len(p) == 0 {
		return false
	}
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(p, func(prefix netip.Prefix) bool { return prefix.Contains(addr) })
}

// Client returns the address of the client that sent a request over a connection
// from peer: peer itself, unless that is a proxy. Then it is the last address in
// the request's X-Forwarded-For fields that is not a proxy's. Anybody can write
// what stands before it.
//
// No other field counts. A proxy passes on fields that it does not know, so a
// second one (Forwarded, X-Real-IP) would be the client's own word.
func (p Proxies) Client(peer netip.AddrPort, forwardedFor []string) netip.AddrPort {
	if !p.Trust(peer.Addr()) {
		return peer
	}
	client := peer
	for _, field := range slices.Backward(forwardedFor) {
		for _, text := range slices.Backward(strings.Split(field, ",")) {
			addr, ok := parseForwarded(strings.Trim(text, " \t"))
			if !ok { // "unknown", or not written by a proxy
				return client
			}
			client = addr
			if !p.Trust(addr.Addr()) {
				return client
			}
		}
	}
	return client
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
