//go:build unix

package bind

import (
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// check binds a socket to addr, with the options that Go's listeners have.
func check(addr *net.TCPAddr) error {
	if ip := addr.IP.To4(); ip != nil {
		return bindSocket(unix.AF_INET, &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(ip)})
	}
	if addr.IP != nil {
		return bindSocket(unix.AF_INET6, &unix.SockaddrInet6{Port: addr.Port, Addr: [16]byte(addr.IP.To16()), ZoneId: zone(addr.Zone)})
	}
	err := bindSocket(unix.AF_INET6, &unix.SockaddrInet6{Port: addr.Port}) // all addresses, of IPv4 too
	if errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL) {
		err = bindSocket(unix.AF_INET, &unix.SockaddrInet4{Port: addr.Port})
	}
	return err
}

func bindSocket(family int, addr unix.Sockaddr) error {
	fd, err := unix.Socket(family, unix.SOCK_STREAM, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	unix.CloseOnExec(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return os.NewSyscallError("bind", unix.Bind(fd, addr))
}

// zone returns the index of the interface that the zone of a link-local address names, or 0.
func zone(name string) uint32 {
	if i, err := net.InterfaceByName(name); err == nil {
		return uint32(i.Index)
	}
	index, _ := strconv.ParseUint(name, 10, 32) // 0 if name is neither
	return uint32(index)
}
