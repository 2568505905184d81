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

// target is a server and the handshake for it.
type target struct {
	Addr    netip.AddrPort
	Request string // the handshake, or the body of a connect; {n} is the connection's number
	// ServerName is the name in the server's certificate. If empty, there is no TLS.
	ServerName string
}

// findTarget resolves a socket's URL, written as for a client.
func findTarget(ctx context.Context, o *Options, raw string) (target, error) {
	u, err := parseURL(raw)
	if err != nil {
		return target{}, err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return target{}, fmt.Errorf("%q: %w", raw, err)
	}
	addr := preferred(addrs)
	if !o.Remote && !onThisMachine(addr) {
		return target{}, fmt.Errorf("%s is not an address of this machine; add --remote if you may put that server under load", addr)
	}
	t := target{Addr: netip.AddrPortFrom(addr, portOf(u)), Request: request(o, u)}
	if u.Scheme == "wss" {
		t.ServerName = u.Hostname()
	}
	return t, nil
}

// parseURL parses the URL of a socket.
func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, fmt.Errorf("%q is not the URL of a socket, such as ws://127.0.0.1:4000/socket", raw)
	case u.Scheme != "ws" && u.Scheme != "wss":
		return nil, fmt.Errorf("%q does not start with ws:// or wss://; bench does not do long polling", raw)
	case portOf(u) == 0:
		return nil, fmt.Errorf("%q does not have a port from 1 to 65535", raw)
	}
	if vsn := u.Query().Get("vsn"); vsn != "" && vsn != protocolVersion {
		return nil, fmt.Errorf("%q asks for version %s; bench speaks only %s", raw, vsn, protocolVersion)
	}
	return u, nil
}

// protocolVersion is the vsn of the handshake.
const protocolVersion = "2.0.0"

// portOf returns the port, or 0 if it is not valid.
func portOf(u *url.URL) uint16 {
	usual := "80"
	if u.Scheme == "wss" {
		usual = "443"
	}
	port, _ := strconv.ParseUint(orElse(u.Port(), usual), 10, 16) // 0 with an error
	return uint16(port)
}

// hasNoPort reports whether a URL leaves the port to its scheme.
func hasNoPort(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Port() == ""
}

// preferred returns an IPv4 address if there is one: only IPv4 has more than one
// loopback address.
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

// request returns the handshake.
func request(o *Options, u *url.URL) string {
	path := u.EscapedPath()
	if !strings.HasSuffix(path, "/websocket") {
		path = strings.TrimSuffix(path, "/") + "/websocket" // as clients do
	}
	query := u.Query()
	query.Set("vsn", protocolVersion)
	for _, p := range o.Params {
		name, value, _ := strings.Cut(p, "=")
		query.Add(name, value)
	}
	encoded := strings.ReplaceAll(query.Encode(), url.QueryEscape(placeholder), placeholder)
	if o.TCP {
		return connectRequest(o, path+"?"+encoded)
	}
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
