package scale

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fleet is the clients of a test: raw descriptors and one epoll, driven by the goroutine of
// the test, so that the test never waits for its own clients when it measures the server.
type fleet struct {
	t       *testing.T
	server  unix.SockaddrInet4
	topic   string
	ep      int
	clients []*client
	events  []unix.EpollEvent
	scratch []byte
	// patience is how long until waits. Only failing tests wait that long.
	patience time.Duration

	// onMessage is called for messages other than replies to joins and heartbeats.
	onMessage func(c *client, m message)

	connecting, joined, closed, beats int
	failures                          int
}

const (
	// connectAtOnce prevents an overflow of the listener's backlog, which is 128 on many
	// systems.
	connectAtOnce = 100
	// sources is how many addresses from 127.0.0.2 on are used, because closed connections
	// keep their ports for a minute.
	sources = 8
)

// newFleet makes n clients of a topic. They are not connected yet.
func newFleet(t *testing.T, addr, topic string, n int) *fleet {
	t.Helper()
	server := netip.MustParseAddrPort(addr)
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{
		t: t, topic: topic, ep: ep, patience: patience,
		server:  unix.SockaddrInet4{Port: int(server.Port()), Addr: server.Addr().As4()},
		events:  make([]unix.EpollEvent, 512),
		scratch: make([]byte, 256<<10),
	}
	t.Cleanup(func() {
		f.drop(f.clients)
		unix.Close(ep)
	})
	for i := range n {
		f.clients = append(f.clients, &client{fleet: f, index: i, fd: -1})
	}
	return f
}

// join makes all clients connect and join. payload returns the payload of a join.
func (f *fleet) join(payload func(i int) string) {
	f.t.Helper()
	next := 0
	f.until("all have joined", func() bool {
		for ; next < len(f.clients) && f.connecting < connectAtOnce; next++ {
			f.clients[next].connect(payload(next))
		}
		return f.joined == len(f.clients)
	})
}

// beat makes the clients send a heartbeat and waits for the replies. Everything that the
// server has sent before has then arrived.
func (f *fleet) beat(clients []*client) {
	f.t.Helper()
	f.beats = 0
	for _, c := range clients {
		c.send(`[null,"beat","phoenix","heartbeat",{}]`)
	}
	f.until("all heartbeats are answered", func() bool { return f.beats == len(clients) })
}

// drop closes connections without a Close frame, every second one with a reset.
func (f *fleet) drop(clients []*client) {
	for _, c := range clients {
		if c.fd < 0 {
			continue
		}
		if c.index%2 == 1 {
			unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}
		c.close()
	}
}

// open returns how many clients are connected.
func (f *fleet) open() int {
	n := 0
	for _, c := range f.clients {
		if c.fd >= 0 {
			n++
		}
	}
	return n
}

// until handles what the server sends until ok returns true.
func (f *fleet) until(what string, ok func() bool) {
	f.t.Helper()
	for begun := time.Now(); !ok(); {
		if time.Since(begun) > f.patience {
			f.t.Fatalf("waited for: %s (%d joined, %d closed, %d heartbeats answered)", what, f.joined, f.closed, f.beats)
		}
		f.poll(100)
	}
}

// handle handles what the server has already sent.
func (f *fleet) handle() {
	f.t.Helper()
	for f.poll(0) == len(f.events) {
	}
}

// poll waits at most so many milliseconds for events, handles them, and returns how many
// there were.
func (f *fleet) poll(wait int) int {
	f.t.Helper()
	n, err := unix.EpollWait(f.ep, f.events, wait)
	if err != nil && !errors.Is(err, unix.EINTR) {
		f.t.Fatal("epoll_wait:", err)
	}
	for _, ev := range f.events[:max(n, 0)] {
		f.clients[ev.Fd].handle(ev.Events)
	}
	if f.failures > 0 {
		f.t.FailNow()
	}
	return n
}

// fail records an error that a client found. The first few are shown.
func (f *fleet) fail(c *client, format string, args ...any) {
	f.t.Helper()
	if f.failures++; f.failures <= 5 {
		f.t.Errorf("client %d: %s", c.index, fmt.Sprintf(format, args...))
	}
}
