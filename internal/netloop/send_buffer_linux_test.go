package netloop

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// SO_SNDBUF is as asked for, which Linux doubles, or left alone.
func TestSendBuffer(t *testing.T) {
	const size = 32 << 10
	each(t, func(t *testing.T, w way) {
		for _, test := range []struct {
			option int
			ok     func(got int) bool
		}{
			{size, func(got int) bool { return got == 2*size }},
			{0, func(got int) bool { return got > 2*size }},
		} {
			g := newGroup(t, w.with(Options{Loops: 1, SendBuffer: test.option}))
			sizes := make(chan int, 1)
			dial(t, listen(t, g, func(netip.AddrPort) Handler {
				return &hooks{open: func(c *Conn) { sizes <- sendBufferOf(t, c) }}
			}))
			select {
			case got := <-sizes:
				if !test.ok(got) {
					t.Errorf("SendBuffer %d: SO_SNDBUF is %d", test.option, got)
				}
			case <-time.After(patience):
				t.Fatal("no connection")
			}
		}
	})
}

func sendBufferOf(t *testing.T, c *Conn) (size int) {
	read := func(fd uintptr) {
		var err error
		if size, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF); err != nil {
			t.Error(err)
		}
	}
	s, portable := c.carrier().(*stream)
	if !portable {
		read(uintptr(c.fd))
		return size
	}
	raw, err := s.nc.(*net.TCPConn).SyscallConn()
	if err == nil {
		err = raw.Control(read)
	}
	if err != nil {
		t.Error(err)
	}
	return size
}
