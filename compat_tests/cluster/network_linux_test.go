package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// network connects network namespaces and this process, packet by packet: a tun device in
// each namespace leads here, where the fate of each packet is decided.
type network struct {
	t     *testing.T
	ports []*port // the last one is this process's
	work  sync.WaitGroup

	mu    sync.Mutex
	links map[[2]int]*link // from, to; guarded by mu
}

// port is a device and its address.
type port struct {
	namespace string // "": this process's
	device    string
	address   netip.Addr
	file      *os.File
}

// link is one direction between two ports.
type link struct {
	cut   bool
	loss  float64 // of packets
	delay time.Duration
	queue chan late // packets that are delayed; nil until there are any
}

// late is a packet and when it is due.
type late struct {
	due    time.Time
	packet []byte
}

// newNetwork makes n namespaces that reach each other and this process. It skips the
// test where that needs rights that this process does not have.
func newNetwork(t *testing.T, n int) *network {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making network namespaces needs root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("making network namespaces needs ip, of the package iproute2")
	}
	w := &network{t: t, links: map[[2]int]*link{}}
	subnet := rand.IntN(1 << 15) // of 198.18.0.0/15, which is for tests (RFC 2544)
	id := fmt.Sprintf("%04x", rand.IntN(1<<16))
	for i := range n + 1 {
		p := &port{device: fmt.Sprintf("my%s-%d", id, i), address: netip.AddrFrom4([4]byte{198, byte(18 + subnet>>14&1), byte(subnet >> 6), byte(subnet&3<<6 | (i + 1))})}
		if i < n {
			p.namespace = p.device
		}
		w.ports = append(w.ports, p)
		w.open(p)
	}
	for i := range w.ports {
		w.work.Go(func() { w.carry(i) })
	}
	t.Cleanup(w.close)
	return w
}

// open makes the device of a port, and its namespace.
func (w *network) open(p *port) {
	w.t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		w.t.Skip("making network namespaces needs /dev/net/tun:", err)
	}
	var request struct {
		name  [unix.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}
	copy(request.name[:], p.device)
	request.flags = unix.IFF_TUN | unix.IFF_NO_PI
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&request))); e != 0 {
		unix.Close(fd)
		w.t.Skip("making network namespaces needs a tun device:", e)
	}
	p.file = os.NewFile(uintptr(fd), p.device)
	if p.namespace != "" {
		w.ip("netns", "add", p.namespace)
		w.ip("link", "set", p.device, "netns", p.namespace)
		w.in(p, "link", "set", "lo", "up")
	}
	w.in(p, "addr", "add", p.address.String()+"/26", "dev", p.device)
	w.in(p, "link", "set", p.device, "up")
}

func (w *network) in(p *port, args ...string) {
	if p.namespace != "" {
		args = append([]string{"-n", p.namespace}, args...)
	}
	w.ip(args...)
}

func (w *network) ip(args ...string) {
	w.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		w.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// close removes everything.
func (w *network) close() {
	for _, p := range w.ports {
		p.file.Close()
	}
	w.work.Wait()
	w.mu.Lock()
	for _, l := range w.links {
		if l.queue != nil {
			close(l.queue)
		}
	}
	w.mu.Unlock()
	for _, p := range w.ports {
		if p.namespace != "" {
			exec.Command("ip", "netns", "del", p.namespace).Run()
		}
	}
}

// carry takes the packets of a port to where they go.
func (w *network) carry(from int) {
	buf := make([]byte, 64<<10)
	for {
		n, err := w.ports[from].file.Read(buf)
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				w.t.Error("reading a packet:", err)
			}
			return
		}
		if n < 20 || buf[0]>>4 != 4 {
			continue // IPv6 asks for neighbours
		}
		to := netip.AddrFrom4([4]byte(buf[16:20]))
		for i, p := range w.ports {
			if p.address == to {
				w.pass(from, i, buf[:n])
			}
		}
	}
}

// pass does with a packet what its link does.
func (w *network) pass(from, to int, packet []byte) {
	w.mu.Lock()
	l := w.link(from, to)
	cut, delay, queue := l.cut || l.loss > 0 && rand.Float64() < l.loss, l.delay, l.queue
	w.mu.Unlock()
	switch {
	case cut:
	case queue != nil:
		select {
		case queue <- late{time.Now().Add(delay), append([]byte(nil), packet...)}:
		default: // as routers do
		}
	default:
		w.deliver(to, packet)
	}
}

func (w *network) deliver(to int, packet []byte) {
	w.ports[to].file.Write(packet)
}

// link returns the link of a direction. mu is held.
func (w *network) link(from, to int) *link {
	l := w.links[[2]int{from, to}]
	if l == nil {
		l = new(link)
		w.links[[2]int{from, to}] = l
	}
	return l
}

// cut drops what goes from a node to another, or lets it pass again.
func (w *network) cut(from, to int, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.link(from, to).cut = cut
}

// worsen delays packets between all nodes in each direction, and loses some. Packets to
// this process are not affected.
func (w *network) worsen(delay time.Duration, loss float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for from := range len(w.ports) - 1 {
		for to := range len(w.ports) - 1 {
			if from == to {
				continue
			}
			l := w.link(from, to)
			l.delay, l.loss = delay, loss
			if l.queue == nil {
				l.queue = make(chan late, 10_000)
				queue := l.queue
				go func() { // ends with close
					for p := range queue {
						time.Sleep(time.Until(p.due))
						w.deliver(to, p.packet)
					}
				}()
			}
		}
	}
}

// places are where nodes are started in the namespaces.
func (w *network) places() []place {
	var places []place
	for _, p := range w.ports[:len(w.ports)-1] {
		places = append(places, place{
			client: p.address.String() + ":4000", listen: p.address.String() + ":4000", peers: p.address.String() + ":6222",
			within: []string{"ip", "netns", "exec", p.namespace},
		})
	}
	return places
}
