package netloop

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Raw system calls do not tell Go's scheduler that the thread may block. These never block, and unix.Write costs
// 16-27 % more for a small frame.

func recv(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

func send(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

func rawWrite(fd int, p []byte) {
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
}

// accept4 accepts a connection and writes its peer's address to from.
func accept4(fd int, from *unix.RawSockaddrAny) (int, unix.Errno) {
	size := uint32(unix.SizeofSockaddrAny)
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(from)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	return int(n), errno
}

// setSocketOptions makes small frames leave at once and detects vanished peers. Accepted connections inherit the
// options of their listener, which saves five system calls each. TCP_USER_TIMEOUT is the exception: net.Listen opens
// Multipath TCP where the system has it, and such a listener refuses that option. (A listener of plain TCP would pass it
// on; a connect and join costs the same with either.) Setting the options fails on Unix sockets, which need none of them.
func setSocketOptions(fd int, o *Options) {
	idle, interval, count := keepAlive(o.PeerTimeout)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(idle/time.Second))
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(interval/time.Second))
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, count)
	if o.SendBuffer > 0 {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, o.SendBuffer)
	}
	limitSilence(fd, o.PeerTimeout)
}

// limitSilence makes the system give up on a peer that leaves bytes unacknowledged for timeout, during which keepalive
// does not probe.
func limitSilence(fd int, timeout time.Duration) {
	unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(timeout/time.Millisecond))
}

// setUserTimeout is limitSilence for a stream.
func setUserTimeout(c net.Conn, timeout time.Duration) {
	t := tcpOf(c)
	if t == nil {
		return
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { limitSilence(int(fd), timeout) })
}

// socketError returns the pending error of a socket that epoll reports as broken.
func socketError(fd int) error {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || errno == 0 {
		return ErrPeerClosed
	}
	return closeReason(unix.Errno(errno))
}

// peerOf reads the address that accept4 has written. There it is free; later it would take two system calls.
func peerOf(from *unix.RawSockaddrAny) netip.AddrPort {
	switch from.Addr.Family {
	case unix.AF_INET:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(from))
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), networkOrder(&sa.Port))
	case unix.AF_INET6:
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(from))
		addr := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.Scope_id != 0 && addr.Is6() {
			addr = addr.WithZone(zone(sa.Scope_id))
		}
		return netip.AddrPortFrom(addr, networkOrder(&sa.Port))
	}
	return netip.AddrPort{}
}

// networkOrder reads the port of a socket address.
func networkOrder(port *uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(port))[:])
}

// zone names the interface of a link-local address, by number if it no longer has a name.
func zone(id uint32) string {
	if i, err := net.InterfaceByIndex(int(id)); err == nil {
		return i.Name
	}
	return strconv.FormatUint(uint64(id), 10)
}
