package netloop

import (
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/mycelium-rt/mycelium/internal/heaptest"
	"github.com/mycelium-rt/mycelium/internal/race"
)

// idle is the smallest handler there is.
type idle struct{ opened *int }

func (h idle) HandleOpen(c *Conn)     { *h.opened++; c.SetDeadline(time.Minute) }
func (idle) HandleData(*Conn, []byte) {}
func (idle) HandleTimeout(*Conn)      {}
func (idle) HandleClose(*Conn, error) {}

// An idle connection costs a Conn, easygo's map entry and callback, and a place in a slice: no goroutine, timer or buffer.
func TestMemoryPerIdleConnection(t *testing.T) {
	if size := unsafe.Sizeof(Conn{}); size > 112 {
		t.Errorf("a Conn has %d bytes", size)
	}
	if race.Enabled {
		t.Skip("the race detector needs memory of its own: make test-budgets runs it without")
	}
	const clients = 4000
	g := newGroup(t, Options{Loops: 1})
	opened := 0
	h := idle{&opened}
	addr, err := net.ResolveTCPAddr("tcp", listen(t, g, func(netip.AddrPort) Handler { return h }))
	if err != nil {
		t.Fatal(err)
	}
	fds := make([]int, 0, clients) // raw, so that the peers' ends cost no heap
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	goroutines, heap := runtime.NumGoroutine(), heaptest.Live()
	to := &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}
	for range clients {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
		if err := unix.Connect(fd, to); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all open", func() bool { return g.Stats().Connections == clients })
	per := (float64(heaptest.Live()) - float64(heap)) / clients
	t.Logf("%d bytes in Conn, %.0f bytes of live heap per idle connection", unsafe.Sizeof(Conn{}), per)
	if per > 350 {
		t.Errorf("%.0f bytes per idle connection", per)
	}
	eventually(t, "no goroutine of a connection", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// Accepted sockets inherit the options of their listener; adopted ones get them one by one.
func TestSocketOptions(t *testing.T) {
	g := newGroup(t, Options{PeerTimeout: 40 * time.Second})
	check := func(c *Conn) {
		on(t, c, func() {
			for _, o := range []struct{ level, name, want int }{
				{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
				{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 20},
				{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 6},
				{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
				{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 40_000},
			} {
				if got, err := unix.GetsockoptInt(int(c.fd), o.level, o.name); err != nil || got != o.want {
					t.Errorf("option %d/%d is %d, want %d (%v)", o.level, o.name, got, o.want, err)
				}
			}
		})
	}
	c, _ := connect(t, g, &hooks{})
	check(c)
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	dial(t, nl.Addr().String())
	nc, err := nl.Accept()
	if err != nil {
		t.Fatal(err)
	}
	opened := make(chan *Conn, 1)
	if err := g.Adopt(nc, nil, &hooks{open: func(c *Conn) { opened <- c }}); err != nil {
		t.Fatal(err)
	}
	check(receive(t, "HandleOpen", opened))
}

// What a loop has for a peak of connections goes back when they have gone.
func TestMemoryGoesBack(t *testing.T) {
	g := newGroup(t, Options{Loops: 1})
	l := g.Loops()[0]
	const peak = 5000
	done := make(chan [2]int, 1)
	l.Post(TaskFunc(func() {
		var grown, left int
		var dirty connRing
		size := func() int {
			n := cap(l.conns) + len(dirty.items) + len(l.dead.items) + len(l.backlogs)
			for _, kept := range l.rings {
				n += len(kept)
			}
			return n
		}
		conns := make([]*Conn, peak)
		for i := range conns {
			conns[i] = &Conn{lane: l.lobby, via: carriedBy(&order{}), handler: &hooks{}, fd: -1}
			l.ownConn(conns[i])
			dirty.push(l, conns[i])
			l.dead.push(l, conns[i])
		}
		for range backlogsKept {
			l.freeBacklog(&backlog{items: make([]*Frame, smallRing)})
		}
		grown = size()
		for i := range conns {
			if dirty.pop(l) != conns[i] || l.dead.pop(l) != conns[i] {
				t.Error("a ring has lost its order")
			}
			l.forgetConn(conns[i])
		}
		left = size()
		done <- [2]int{grown, left}
	}))
	got := receive(t, "the sizes", done)
	if grown, left := got[0], got[1]; grown < 3*peak || left > 4*shrinkAbove {
		t.Errorf("room for %d grew to %d and is %d afterwards", peak, grown, left)
	}
}
