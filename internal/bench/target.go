package bench

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// target is where connections go and what they say first.
type target struct {
	Addr    netip.AddrPort
	Request string // the handshake; {n} is the connection's number
}

// findTarget resolves a socket's address as clients write it.
func findTarget(ctx context.Context, o *Options, raw string) (target, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return target{}, fmt.Errorf("%q is not the address of a socket; it looks like ws://127.0.0.1:4000/socket", raw)
	}
	if u.Scheme != "ws" {
		return target{}, fmt.Errorf("%q does not begin with ws://; bench speaks neither TLS nor long polling", raw)
	}
	port, err := strconv.ParseUint(orElse(u.Port(), "80"), 10, 16)
	if err != nil || port == 0 {
		return target{}, fmt.Errorf("%q does not have a port from 1 to 65535", raw)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return target{}, fmt.Errorf("%q: %w", raw, err)
	}
	addr := preferred(addrs)
	if !o.Remote && !onThisMachine(addr) {
		return target{}, fmt.Errorf("%s is not this machine; add --remote if you may put that server under load", addr)
	}
	return target{netip.AddrPortFrom(addr, uint16(port)), request(o, u)}, nil
}

// preferred is an address of version 4 if there is one: only there has
// loopback more than one source address.
func preferred(addrs []netip.Addr) netip.Addr {
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			return a
		}
	}
	return addrs[0]
}

func onThisMachine(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	own, _ := net.InterfaceAddrs()
	for _, a := range own {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr() == addr.WithZone("") {
			return true
		}
	}
	return false
}

// request is the handshake.
func request(o *Options, u *url.URL) string {
	path := u.EscapedPath()
	if !strings.HasSuffix(path, "/websocket") {
		path = strings.TrimSuffix(path, "/") + "/websocket" // as clients do
	}
	query := u.Query()
	query.Set("vsn", "2.0.0")
	for _, p := range o.Params {
		name, value, _ := strings.Cut(p, "=")
		query.Add(name, value)
	}
	encoded := strings.ReplaceAll(query.Encode(), url.QueryEscape(placeholder), placeholder)
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s?%s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n", path, encoded, u.Host, handshakeKey)
	if o.AuthToken != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: phoenix, base64url.bearer.phx.%s\r\n", base64.RawURLEncoding.EncodeToString([]byte(o.AuthToken)))
	}
	for _, h := range o.Headers {
		b.WriteString(h + "\r\n")
	}
	b.WriteString("\r\n")
	return b.String()
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}
