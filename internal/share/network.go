package share

import (
	"encoding/binary"
	"net/netip"
)

// Network is the part of an address that identifies a client: an IPv4 address,
// or the first 64 bits of an IPv6 address, since one subscriber has all
// addresses below them. 0 stands for addresses that identify nobody.
type Network uint64

// v4 precedes the bits of an IPv4 address. 0:ffff::/32 is not in use.
const v4 = 0xffff << 32

// sharedSpace is the address space behind the NAT of carriers (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// NetworkOf returns the network of an address. It returns 0 for addresses of
// this machine and of private networks: they may be proxies and load balancers,
// whose clients cannot be told apart.
func NetworkOf(addr netip.Addr) Network {
	addr = addr.Unmap()
	switch {
	case !addr.IsValid(), addr.IsLoopback(), addr.IsPrivate(), addr.IsLinkLocalUnicast(), addr.IsUnspecified(), sharedSpace.Contains(addr):
		return 0
	}
	return AnyNetworkOf(addr)
}

// AnyNetworkOf is like NetworkOf if the proxies are known: every other address
// is a client's, including those of private networks and of this machine.
func AnyNetworkOf(addr netip.Addr) Network {
	addr = addr.Unmap().WithZone("")
	switch {
	case !addr.IsValid():
		return 0
	case addr.Is4():
		b := addr.As4()
		return v4 | Network(binary.BigEndian.Uint32(b[:]))
	}
	b := addr.As16()
	if [8]byte(b[:8]) == ([8]byte{}) { // ::1 is this machine, like 127.0.0.1
		return v4 | 127<<24 | 1
	}
	return Network(binary.BigEndian.Uint64(b[:8]))
}

// String returns the address or the prefix; "" for 0.
func (n Network) String() string {
	var b [16]byte
	switch {
	case n == 0:
		return ""
	case n>>32 == v4>>32:
		binary.BigEndian.PutUint32(b[:], uint32(n))
		return netip.AddrFrom4([4]byte(b[:4])).String()
	}
	binary.BigEndian.PutUint64(b[:], uint64(n))
	return netip.PrefixFrom(netip.AddrFrom16(b), 64).String()
}
