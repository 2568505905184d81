package netloop

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/leaktest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// patience is how long a test waits for what must happen; only failing tests wait that long.
const patience = 90 * time.Second

// TestMain fails on goroutines, descriptors and frames that are left.
func TestMain(m *testing.M) {
	if os.Getenv(starvedChild) != "" {
		os.Exit(starve())
	}
	if addr := os.Getenv(drainChild); addr != "" {
		os.Exit(drain(addr))
	}
	leaktest.Main(m, leaks.Counts...)
}

// leaks checks what tests with a group leave.
var leaks = leaktest.Quiet{Counts: []leaktest.Count{{Name: "frames", Live: LiveFrames}}}

// way is an implementation: how the bytes get in and out.
type way struct {
	name    string
	options Options
}

var ways = []way{
	{"epoll", Options{IOUring: IOUringOff}},
	{"uring", Options{IOUring: IOUringOn, batchFrom: 1}},
	{"portable", Options{Portable: true}},
}

// with returns o for the way.
func (w way) with(o Options) Options {
	o.Portable, o.IOUring, o.batchFrom = w.options.Portable, w.options.IOUring, w.options.batchFrom
	return o
}

// possible skips what the system does not offer.
func (w way) possible(t testing.TB) {
	t.Helper()
	if w.options.Portable {
		return
	}
	if (Options{}).withDefaults().Portable {
		t.Skip("no epoll on this system")
	}
	g, err := New(w.with(Options{Loops: 1}))
	if err != nil {
		t.Skip("not on this system: ", err)
	}
	g.Close()
}

// each runs a test on every implementation.
func each(t *testing.T, test func(t *testing.T, w way)) {
	t.Helper()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			w.possible(t)
			test(t, w)
		})
	}
}

// eachSlow is each for tests that mostly wait: all of them run at the same time.
func eachSlow(t *testing.T, test func(t *testing.T, w way)) {
	t.Parallel()
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			w.possible(t)
			test(t, w)
		})
	}
}

func newGroup(t testing.TB, o Options) *Group {
	t.Helper()
	leaks.Watch(t)
	if o.OnError == nil {
		o.OnError = func(err error) { t.Error("OnError:", err) }
	}
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func listen(t testing.TB, g *Group, accept Accept) string {
	t.Helper()
	ln, err := g.Listen("127.0.0.1:0", accept)
	if err != nil {
		t.Fatal(err)
	}
	return ln.Addr().String()
}

func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

var eventually = waittest.For

// receive takes one value from a channel.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("never happened: ", what)
		panic("unreachable")
	}
}

// on runs f on c's loop and waits for it.
func on(t testing.TB, c *Conn, f func()) {
	t.Helper()
	done := make(chan struct{})
	if !c.Loop().Post(TaskFunc(func() { f(); close(done) })) {
		t.Fatal("task refused")
	}
	receive(t, "task", done)
}

// hooks is a Handler made of functions; nil ones do nothing. It checks the order of callbacks.
type hooks struct {
	open    func(c *Conn)
	data    func(c *Conn, data []byte)
	timeout func(c *Conn)
	close   func(c *Conn, reason error)

	inside, opened, closed bool
}

func (h *hooks) enter(first, last bool) func() {
	if h.inside || h.closed || h.opened == first {
		panic(fmt.Sprintf("callback out of order: inside %v opened %v closed %v", h.inside, h.opened, h.closed))
	}
	h.inside, h.opened, h.closed = true, true, last
	return func() { h.inside = false }
}

func (h *hooks) HandleOpen(c *Conn) {
	defer h.enter(true, false)()
	if h.open != nil {
		h.open(c)
	}
}

func (h *hooks) HandleData(c *Conn, data []byte) {
	defer h.enter(false, false)()
	if h.data != nil {
		h.data(c, data)
	}
}

func (h *hooks) HandleTimeout(c *Conn) {
	defer h.enter(false, false)()
	if h.timeout != nil {
		h.timeout(c)
	}
}

func (h *hooks) HandleClose(c *Conn, reason error) {
	defer h.enter(false, true)()
	if h.close != nil {
		h.close(c, reason)
	}
}

// connect opens one connection and returns both its ends.
func connect(t testing.TB, g *Group, h *hooks) (*Conn, *net.TCPConn) {
	t.Helper()
	opened := make(chan *Conn, 1)
	inner := h.open
	h.open = func(c *Conn) {
		if inner != nil {
			inner(c)
		}
		opened <- c
	}
	addr := listen(t, g, func(netip.AddrPort) Handler { return h })
	peer := dial(t, addr)
	return receive(t, "HandleOpen", opened), peer
}

func frameOf(data []byte) *Frame {
	f := NewFrame(len(data))
	f.Append(data)
	return f
}

// echo answers every read with the same bytes.
func echo(c *Conn, data []byte) { c.Send(frameOf(data)) }

// collector keeps connections that were opened.
type collector struct {
	mu    sync.Mutex
	conns []*Conn
}

func (k *collector) add(c *Conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.conns = append(k.conns, c)
}

func (k *collector) all() []*Conn {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]*Conn(nil), k.conns...)
}
