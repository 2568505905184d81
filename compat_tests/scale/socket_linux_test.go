package scale

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// smallBuffer is the receive buffer of clients that do not read, in bytes. It keeps small
// what the kernel takes for them, which the server does not count.
const smallBuffer = 4 << 10

// smallReceiveBuffer is a function for net.Dialer.Control.
func smallReceiveBuffer(_, _ string, c syscall.RawConn) error {
	var set error
	err := c.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, smallBuffer)
	})
	if err != nil {
		return err
	}
	return set
}
