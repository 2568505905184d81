package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// NotFoundError says that there is no key for a server.
type NotFoundError struct {
	// Server is its address.
	Server string
	// Dirs are where it was looked for; none if the server is not on this
	// machine: it could be anybody's, and is not to be told a key.
	Dirs []string
}

func (e *NotFoundError) Error() string {
	if len(e.Dirs) == 0 {
		return fmt.Sprintf("%s is not known to be on this machine, and only there a server's own key is to be found", e.Server)
	}
	return fmt.Sprintf("no server of this user has left a key for %s in %s", e.Server, strings.Join(e.Dirs, " or "))
}

// Find returns the key that a server on this machine has left for its user's
// commands. server is its address, such as "http://localhost:4000". The error
// is a [*NotFoundError] where there is none.
func Find(environ []string, server string) (secret string, err error) {
	names, err := namesFor(server)
	if err != nil {
		return "", err
	}
	missing := &NotFoundError{Server: server}
	if len(names) == 0 {
		return "", missing
	}
	missing.Dirs = directories(environ)
	for _, dir := range missing.Dirs {
		root, err := openPrivate(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		defer root.Close()
		for _, name := range names {
			if secret, err = readIn(root, name); !errors.Is(err, fs.ErrNotExist) {
				return secret, err
			}
		}
	}
	return "", missing
}

// namesFor are the files that a server at an address may have written, the
// most specific first; none if it may be another machine's.
func namesFor(server string) (names []string, err error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portOf(u), 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%s has no port", server)
	}
	var addrs []netip.Addr
	if strings.EqualFold(u.Hostname(), "localhost") {
		addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	} else if ip, err := netip.ParseAddr(u.Hostname()); err == nil && isLocal(ip.Unmap()) {
		addrs = []netip.Addr{ip.Unmap()}
	}
	if len(addrs) == 0 {
		return nil, nil
	}
	for _, ip := range append(addrs, netip.IPv6Unspecified()) {
		names = append(names, nameFor(netip.AddrPortFrom(ip, uint16(port))))
	}
	return names, nil
}

func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// isLocal reports whether whoever connects to ip reaches this machine.
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
