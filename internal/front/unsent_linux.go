package front

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// unsentBytes returns how many bytes the peer has not acknowledged.
func unsentBytes(c syscall.Conn) (n int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0
	}
	raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }) //nolint:errcheck // 0 then
	return n
}
