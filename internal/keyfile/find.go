package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// NotFoundError reports that there is no key for a server.
type NotFoundError struct {
	// Server is its address.
	Server string
	// Dirs are the directories that were searched. There are none if the server
	// may be on another machine, to which a key must not be sent.
	Dirs []string
}

func (e *NotFoundError) Error() string {
	if len(e.Dirs) == 0 {
		return fmt.Sprintf("%s may not be on this machine, and a server's own key is found only there", e.Server)
	}
	return fmt.Sprintf("no server of this user has saved a key for %s in %s; a server whose configuration has keys saves none", e.Server, strings.Join(e.Dirs, " or "))
}

// Key is a key that a server has saved.
type Key struct {
	Secret string
	// Server is where to send it: the address that was asked for, or one at
	// which only the server of the key can answer. Another user may have taken
	// the port on an address of localhost that the server does not listen on.
	Server string
}

// Find returns the key that a server on this machine has saved for its user's
// commands. server is its address, such as "http://localhost:4000". The error
// is a [*NotFoundError] if there is none.
func Find(environ []string, server string) (Key, error) {
	places, err := placesFor(server)
	if err != nil {
		return Key{}, err
	}
	missing := &NotFoundError{Server: server}
	if len(places) == 0 {
		return Key{}, missing
	}
	missing.Dirs = directories(environ)
	var unusable error
	for _, dir := range missing.Dirs {
		root, err := openPrivate(dir)
		if err != nil { // Write does not use it either
			if !errors.Is(err, fs.ErrNotExist) {
				unusable = errors.Join(unusable, err)
			}
			continue
		}
		key, err := findIn(root, places)
		root.Close()
		if !errors.Is(err, fs.ErrNotExist) {
			return key, err
		}
	}
	if unusable != nil {
		return Key{}, unusable
	}
	return Key{}, missing
}

func findIn(root *os.Root, places []place) (Key, error) {
	for _, p := range places {
		secret, err := readIn(root, p.file)
		if !errors.Is(err, fs.ErrNotExist) {
			return Key{secret, p.server}, err
		}
	}
	return Key{}, fs.ErrNotExist
}

// place is a file, and the address of the server that has written it.
type place struct{ file, server string }

// placesFor returns the places for a server's address, the most specific first,
// or none if it may belong to another machine.
func placesFor(server string) (places []place, err error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portOf(u), 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%s has no port", server)
	}
	add := func(listens, reached netip.Addr) {
		at := *u
		if u.Scheme == "http" { // with TLS the certificate identifies the server
			at.Host = netip.AddrPortFrom(reached, uint16(port)).String()
		}
		places = append(places, place{nameFor(netip.AddrPortFrom(listens, uint16(port))), at.String()})
	}
	ip, err := netip.ParseAddr(u.Hostname())
	ip = ip.Unmap()
	switch {
	case strings.EqualFold(u.Hostname(), "localhost"):
		add(ipv4Loopback, ipv4Loopback)
		add(netip.IPv6Loopback(), netip.IPv6Loopback())
		add(netip.IPv4Unspecified(), ipv4Loopback)
	case err != nil || !isLocal(ip):
		return nil, nil
	case ip.Is4():
		add(ip, ip)
		add(netip.IPv4Unspecified(), ip)
	default:
		add(ip, ip)
	}
	return append(places, place{nameFor(netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(port))), server}), nil
}

var ipv4Loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// isLocal reports whether connections to ip reach this machine.
func isLocal(ip netip.Addr) bool {
	if ip.IsLoopback() {
		return true
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range own {
		if network, ok := a.(*net.IPNet); ok && network.IP.Equal(net.IP(ip.AsSlice())) {
			return true
		}
	}
	return false
}
