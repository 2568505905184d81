package share

import (
	"encoding/binary"
	"net/netip"
)

// Network is the part of an address by which clients are told apart: an IPv4
// address, or the first 64 bits of an IPv6 address, of which one subscriber has all
// the others. 0 is addresses that tell nobody apart.
type Network uint64

// v4 is what stands before the bits of an IPv4 address. Nobody has 0:ffff::/32.
const v4 = 0xffff << 32

// sharedSpace is what carriers have behind their NAT (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// NetworkOf returns the network of an address. Addresses of this machine and of
// private networks are no clients': they are proxies and load balancers of whose
// clients we know nothing else, so they have none.
func NetworkOf(addr netip.Addr) Network {
	addr = addr.Unmap()
	switch {
	case !addr.IsValid(), addr.IsLoopback(), addr.IsPrivate(), addr.IsLinkLocalUnicast(), addr.IsUnspecified(), sharedSpace.Contains(addr):
		return 0
	}
	return AnyNetworkOf(addr)
}

// AnyNetworkOf is NetworkOf for where proxies are known: every address but theirs is a
// client's, those of private networks and of this machine too.
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
	if [8]byte(b[:8]) == ([8]byte{}) { // ::1 is this machine, as 127.0.0.1 is
		return v4 | 127<<24 | 1
	}
	return Network(binary.BigEndian.Uint64(b[:8]))
}

// String is the address or the prefix; empty for 0.
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
