package netloop

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/race"
)

// publication sends one frame to many connections of one loop, as a topic does. It is used again and again.
type publication struct {
	frame *Frame
	conns []*Conn
}

func (p *publication) Run() {
	p.frame.Retain(int32(len(p.conns)))
	for _, c := range p.conns {
		c.Send(p.frame)
	}
}

// fanout is a set of receivers whose peers throw away what they get.
type fanout struct {
	group    *Group
	pubs     []*publication // one per loop
	received atomic.Int64   // bytes, at the peers
	awaited  atomic.Int64   // of received, when complete is signalled
	complete chan struct{}
	peers    sync.WaitGroup
	frame    *Frame
}

func newFanout(t testing.TB, w way, receivers int) *fanout {
	f := &fanout{group: newGroup(t, w.with(Options{})), frame: frameOf(make([]byte, 100)), complete: make(chan struct{}, 1)}
	var k collector
	addr := listen(t, f.group, func(netip.AddrPort) Handler { return &hooks{open: k.add} })
	var conns []net.Conn
	for range receivers {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
		f.peers.Go(func() {
			buf := make([]byte, 4096)
			for {
				n, err := c.Read(buf)
				if n > 0 && f.received.Add(int64(n)) == f.awaited.Load() {
					f.complete <- struct{}{}
				}
				if err != nil {
					return
				}
			}
		})
	}
	t.Cleanup(func() {
		for _, c := range conns {
			c.Close()
		}
		f.peers.Wait()
		f.frame.Release()
	})
	eventually(t, "all open", func() bool { return len(k.all()) == receivers })
	for _, l := range f.group.Loops() {
		p := &publication{frame: f.frame}
		for _, c := range k.all() {
			if c.Loop() == l {
				p.conns = append(p.conns, c)
			}
		}
		f.pubs = append(f.pubs, p)
	}
	return f
}

// publish sends n frames to all receivers and waits until the peers have all of them.
func (f *fanout) publish(n, receivers int) {
	f.awaited.Store(f.received.Load() + int64(n*receivers*len(f.frame.Bytes())))
	for range n {
		for i, l := range f.group.Loops() {
			l.Post(f.pubs[i])
		}
	}
	<-f.complete
}

// A delivery allocates nothing, alone or joined.
func TestFanoutAllocations(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates: make test-budgets runs it without")
	}
	for _, w := range ways {
		if w.options.Portable {
			continue // starts goroutines to write
		}
		t.Run(w.name, func(t *testing.T) {
			w.possible(t)
			const receivers = 200
			f := newFanout(t, w, receivers)
			for _, outstanding := range []int{1, 4, 16} {
				f.publish(outstanding, receivers) // fills the pools
				n := testing.AllocsPerRun(20, func() { f.publish(outstanding, receivers) })
				if per := n / float64(receivers*outstanding); per > 0.005 { // the runtime's own, now and then
					t.Errorf("%d outstanding: %.3f allocations per delivery", outstanding, per)
				}
			}
		})
	}
}

func BenchmarkFanout(b *testing.B) {
	const receivers = 1000
	for _, w := range ways {
		for _, outstanding := range []int{1, 4, 16} {
			b.Run(fmt.Sprintf("%s/outstanding=%d", w.name, outstanding), func(b *testing.B) {
				w.possible(b)
				f := newFanout(b, w, receivers)
				f.publish(outstanding, receivers)
				before := f.group.Stats().Writes
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					f.publish(outstanding, receivers)
				}
				b.StopTimer()
				deliveries := float64(b.N * receivers * outstanding)
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/deliveries, "ns/delivery")
				b.ReportMetric(float64(f.group.Stats().Writes-before)/deliveries, "writes/delivery")
			})
		}
	}
}

func BenchmarkEcho(b *testing.B) {
	for _, w := range ways {
		b.Run(w.name, func(b *testing.B) {
			w.possible(b)
			const clients = 100
			g := newGroup(b, w.with(Options{}))
			addr := listen(b, g, func(netip.AddrPort) Handler { return &hooks{data: echo} })
			conns := make([]net.Conn, clients)
			for i := range conns {
				conns[i] = dial(b, addr)
			}
			msg := make([]byte, 60)
			b.ReportAllocs()
			b.ResetTimer()
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			for _, c := range conns {
				wg.Go(func() {
					got := make([]byte, len(msg))
					for left.Add(-1) >= 0 {
						c.Write(msg)
						if _, err := io.ReadFull(c, got); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// drainChild tells this test binary to be the receivers of a benchmark, so that their CPU time is not the server's.
const drainChild = "NETLOOP_DRAIN"

// drain opens connections until standard input ends and throws away what comes; it says on standard output when it has
// received what standard input asked for, in bytes.
func drain(addr string) int {
	var received, awaited atomic.Int64
	complete := make(chan struct{}, 1)
	check := func(n int64) {
		if want := awaited.Load(); want > 0 && n >= want && awaited.CompareAndSwap(want, 0) {
			complete <- struct{}{}
		}
	}
	for range drainers {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		go func() {
			buf := make([]byte, 4096)
			for {
				n, err := c.Read(buf)
				check(received.Add(int64(n)))
				if err != nil {
					return
				}
			}
		}()
	}
	for {
		var want int64
		if _, err := fmt.Scanln(&want); err != nil {
			return 0
		}
		awaited.Store(want)
		check(received.Load())
		<-complete
		fmt.Println("complete")
	}
}

const drainers = 2000
