package netloop

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/internal/leaktest"
)

func TestPostOrder(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{Loops: 2}))
		const posters, tasks = 20, 2000
		for _, l := range g.Loops() {
			var last [posters]int
			var ran int
			var wg sync.WaitGroup
			for p := range posters {
				wg.Go(func() {
					for i := 1; i <= tasks; i++ {
						l.Post(TaskFunc(func() {
							if last[p] != i-1 {
								t.Errorf("poster %d: task %d after %d", p, i, last[p])
							}
							last[p] = i
							ran++
						}))
					}
				})
			}
			wg.Wait()
			done := make(chan int)
			l.Post(TaskFunc(func() { l.Post(TaskFunc(func() { done <- ran })) }))
			if n := receive(t, "tasks", done); n != posters*tasks {
				t.Errorf("%d of %d tasks ran", n, posters*tasks)
			}
		}
	})
}

// Close with live connections, waiting frames, busy posters and new peers leaves nothing behind.
func TestCloseLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		ignore := goleak.IgnoreCurrent()
		for range 5 {
			before := leaktest.Descriptors()
			g, err := New(w.with(Options{Loops: 2, HighWater: 500}))
			if err != nil {
				t.Fatal(err)
			}
			var opened, closed, accepted, ran atomic.Int64
			var k collector
			addr := listen(t, g, func(netip.AddrPort) Handler {
				return &hooks{
					open:  func(c *Conn) { opened.Add(1); k.add(c) },
					close: func(*Conn, error) { closed.Add(1) },
				}
			})
			var peers []*net.TCPConn
			for range 50 {
				peers = append(peers, dial(t, addr))
			}
			eventually(t, "all open", func() bool { return opened.Load() == 50 })
			var wg sync.WaitGroup
			for _, c := range k.all() {
				wg.Go(func() {
					for c.Loop().Post(TaskFunc(func() { ran.Add(1); c.Send(frameOf(make([]byte, 10_000))) })) {
						accepted.Add(1)
						g.Lobby().WaitNotOverloaded(context.Background())
					}
				})
			}
			wg.Go(func() {
				for {
					nc, err := net.Dial("tcp", addr)
					if err != nil {
						return
					}
					nc.Close()
				}
			})
			eventually(t, "posts", func() bool { return ran.Load() > 100 })
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			wg.Wait()
			if opened.Load() != closed.Load() || ran.Load() != accepted.Load() {
				t.Errorf("%d opened, %d closed; %d tasks taken, %d run", opened.Load(), closed.Load(), accepted.Load(), ran.Load())
			}
			if err := g.Close(); err != ErrClosed {
				t.Error("second Close:", err)
			}
			if _, err := g.Listen("127.0.0.1:0", nil); err != ErrClosed {
				t.Error("Listen after Close:", err)
			}
			for _, p := range peers {
				p.Close()
			}
			if n := LiveFrames(); n != 0 {
				t.Errorf("%d frames left", n)
			}
			goleak.VerifyNone(t, ignore)
			if after := leaktest.Descriptors(); after > before {
				t.Errorf("%d descriptors before, %d after", before, after)
			}
		}
	})
}

// Adopt, Listen and Close at the same time.
func TestCloseRaces(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for range 30 {
			g, err := New(w.with(Options{Loops: 2}))
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for {
						ln, err := g.Listen("127.0.0.1:0", func(netip.AddrPort) Handler { return &hooks{data: echo} })
						if err != nil {
							return
						}
						nc, err := net.Dial("tcp", ln.Addr().String())
						if err == nil {
							err = g.Adopt(nc, []byte("left"), &hooks{data: echo})
						}
						a, b := net.Pipe()
						g.Adopt(a, nil, &hooks{data: echo})
						b.Close()
						ln.Close()
						if err != nil {
							return
						}
					}
				})
			}
			time.Sleep(2 * time.Millisecond)
			g.Close()
			wg.Wait()
			if s := g.Stats(); s.Connections != 0 {
				t.Errorf("%+v", s)
			}
		}
	})
}

// Connections come and go while others are written to: descriptors are reused all the time, and no event or frame of one
// may reach another.
func TestChurn(t *testing.T) {
	eachSlow(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{Loops: 2, Tick: time.Millisecond}))
		var wrong, opened, closed atomic.Int64
		addr := listen(t, g, func(netip.AddrPort) Handler {
			var mine byte
			return &hooks{
				open: func(c *Conn) { opened.Add(1); c.SetDeadline(20 * time.Millisecond) },
				data: func(c *Conn, data []byte) {
					if mine == 0 {
						mine = data[0]
					}
					for _, b := range data {
						if b != mine {
							wrong.Add(1)
						}
					}
					echo(c, data)
					switch mine % 5 {
					case 1:
						c.Close(io.EOF)
					case 2:
						c.CloseAfterFlush(io.EOF, time.Second)
					}
				},
				timeout: func(c *Conn) { c.Close(os.ErrDeadlineExceeded) },
				close:   func(*Conn, error) { closed.Add(1) },
			}
		})
		end := time.Now().Add(700 * time.Millisecond)
		var wg sync.WaitGroup
		for w := range 16 {
			wg.Go(func() {
				for i := 0; time.Now().Before(end); i++ {
					c, err := net.Dial("tcp", addr)
					if err != nil {
						t.Error(err)
						return
					}
					b := byte(1 + (w*31+i)%255)
					c.SetDeadline(time.Now().Add(patience))
					c.Write(bytes.Repeat([]byte{b}, 1+i%3000))
					got := make([]byte, 64)
					if i%3 != 0 {
						n, _ := c.Read(got)
						if n > 0 && got[0] != b {
							wrong.Add(1)
						}
					}
					if i%4 == 0 {
						c.(*net.TCPConn).SetLinger(0)
					}
					if i%7 == 0 {
						c.Read(got)
					}
					c.Close()
				}
			})
		}
		wg.Wait()
		eventually(t, "all closed", func() bool { return opened.Load() == closed.Load() && g.Stats().Connections == 0 })
		if wrong.Load() > 0 {
			t.Errorf("%d bytes of another connection", wrong.Load())
		}
		s := g.Stats()
		t.Logf("%d connections", s.Accepted)
		if sum := s.ClosedByPeer + s.ClosedReset + s.ClosedGone + s.ClosedSlow + s.ClosedByGroup + s.ClosedForAnother; sum != closed.Load() {
			t.Errorf("%d closed, %+v", closed.Load(), s)
		}
	})
}

func TestAdoptTCP(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{}))
		nl, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer nl.Close()
		peer := dial(t, nl.Addr().String())
		nc, err := nl.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Adopt(nc, []byte("before "), &hooks{data: echo}); err != nil {
			t.Fatal(err)
		}
		peer.Write([]byte("after"))
		got := make([]byte, len("before after"))
		if _, err := io.ReadFull(peer, got); err != nil || string(got) != "before after" {
			t.Errorf("%q, %v", got, err)
		}
		if s := g.Stats(); s.Adopted != 1 || s.Connections != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAdoptPipe(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{}))
		a, b := net.Pipe()
		reason := make(chan error, 1)
		h := &hooks{close: func(_ *Conn, err error) { reason <- err }}
		h.data = func(c *Conn, data []byte) {
			echo(c, data)
			if string(data) == "end" {
				c.CloseAfterFlush(io.ErrNoProgress, patience)
			}
			if c.TLS() != nil {
				t.Error("a pipe has no TLS")
			}
		}
		if err := g.Adopt(a, []byte("left"), h); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 4)
		io.ReadFull(b, got)
		b.Write([]byte("end"))
		rest, err := io.ReadAll(b)
		if string(got)+string(rest) != "leftend" || err != nil {
			t.Errorf("%q %q %v", got, rest, err)
		}
		if err := receive(t, "HandleClose", reason); err != io.ErrNoProgress {
			t.Error(err)
		}
	})
}

func testCertificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func TestServeTLS(t *testing.T) {
	config := testCertificate(t)
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{OutboundLimit: 16 << 20}))
		nl, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		big := bytes.Repeat([]byte("tls!"), 1<<20)
		reason := make(chan error, 1)
		ln, err := g.Serve(tls.NewListener(nl, config), func(netip.AddrPort) Handler {
			return &hooks{
				open: func(c *Conn) {
					if s := c.TLS(); s == nil || !s.HandshakeComplete {
						t.Errorf("TLS state %+v in HandleOpen", s)
					}
				},
				data: func(c *Conn, data []byte) {
					echo(c, data)
					c.Send(frameOf(big))
					c.CloseAfterFlush(io.EOF, patience)
				},
				close: func(_ *Conn, err error) { reason <- err },
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		// Somebody who does not speak TLS disturbs nobody.
		dial(t, ln.Addr().String()).Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		c.Write([]byte("hi"))
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, append([]byte("hi"), big...)) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		c.Close()
		if err := receive(t, "HandleClose", reason); err != io.EOF {
			t.Error(err)
		}
		eventually(t, "refused", func() bool { return g.Stats().Refused == 1 })
	})
}

// A TLS peer that takes nothing must not hold up the loop that closes it.
func TestCloseOfStuckTLS(t *testing.T) {
	config := testCertificate(t)
	g := newGroup(t, Options{Loops: 1, OutboundLimit: 64 << 20})
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	opened := make(chan *Conn, 1)
	ln, err := g.Serve(tls.NewListener(nl, config), func(netip.AddrPort) Handler {
		return &hooks{
			open:  func(c *Conn) { opened <- c },
			close: func(_ *Conn, err error) { closed <- err },
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	conn := receive(t, "HandleOpen", opened)
	on(t, conn, func() { conn.Send(frameOf(make([]byte, 32<<20))) })
	on(t, conn, func() { conn.Close(io.EOF) })
	start := time.Now()
	if err := receive(t, "HandleClose", closed); err != io.EOF {
		t.Error(err)
	}
	on(t, conn, func() {})
	if d := time.Since(start); d > 4*time.Second {
		t.Errorf("the loop was held up for %v", d)
	}
	eventually(t, "frame released", func() bool { return LiveFrames() == 0 })
}

// Each connection's handler is made for its peer, on the listener's own loop and on the others.
func TestAcceptPeer(t *testing.T) {
	for _, at := range []struct{ listen, dial string }{
		{"127.0.0.1:0", "127.0.0.1"}, {"[::1]:0", "::1"}, {"[::]:0", "127.0.0.1"},
	} {
		each(t, func(t *testing.T, w way) {
			g := newGroup(t, w.with(Options{Loops: 2}))
			peers := make(chan netip.AddrPort, 1)
			ln, err := g.Listen(at.listen, func(peer netip.AddrPort) Handler {
				peers <- peer
				return &hooks{}
			})
			if err != nil {
				t.Skip(err) // a system without IPv6
			}
			to := net.JoinHostPort(at.dial, strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
			for range 2 * len(g.Loops()) {
				c := dial(t, to)
				if got := receive(t, "the peer", peers); got.String() != c.LocalAddr().String() {
					t.Errorf("listening on %s: the peer is %v, want %v", at.listen, got, c.LocalAddr())
				}
			}
		})
	}
}

func TestServeUnix(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{}))
		path := filepath.Join(t.TempDir(), "s")
		nl, err := net.Listen("unix", path)
		if err != nil {
			t.Skip(err)
		}
		ln, err := g.Serve(nl, func(peer netip.AddrPort) Handler {
			if peer.IsValid() {
				t.Error("the peer on a Unix socket is", peer)
			}
			return &hooks{data: echo}
		})
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Write([]byte("abc"))
		got := make([]byte, 3)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "abc" {
			t.Errorf("%q, %v", got, err)
		}
		ln.Close()
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Error("the path was not removed:", err)
		}
	})
}

// While an inbox is too full no socket is read, and all are read again when it has come down.
func TestOverload(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{Loops: 2, HighWater: 100}))
		got := make(chan string, 10)
		c, peer := connect(t, g, &hooks{data: func(_ *Conn, data []byte) { got <- string(data) }})
		other := g.Loops()[1-c.Loop().Index()]
		gate := make(chan struct{})
		open := sync.OnceFunc(func() { close(gate) })
		defer open() // or Close would wait for the loop
		other.Post(TaskFunc(func() { <-gate }))
		for range 200 {
			other.Post(TaskFunc(func() {}))
		}
		if !g.Lobby().Overloaded() {
			t.Fatal("not overloaded")
		}
		var all string
		if w.options.Portable {
			// The reader may have been in Read before; its next one must wait.
			peer.Write([]byte("1"))
			for until := time.Now().Add(time.Second); len(got) == 0 && time.Now().Before(until); time.Sleep(time.Millisecond) {
				on(t, c, func() {})
			}
			if len(got) > 0 {
				all = <-got
			}
		}
		peer.Write([]byte("2"))
		waited := make(chan error, 1)
		go func() { waited <- g.Lobby().WaitNotOverloaded(context.Background()) }()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
		defer cancel()
		if err := g.Lobby().WaitNotOverloaded(ctx); err != context.DeadlineExceeded {
			t.Error(err)
		}
		on(t, c, func() {})
		if len(got)+len(waited) != 0 {
			t.Fatal("went on in spite of the overload")
		}
		open()
		all += receive(t, "HandleData", got)
		if all != "2" && (!w.options.Portable || all != "12") {
			t.Error(all)
		}
		if err := receive(t, "WaitNotOverloaded", waited); err != nil {
			t.Error(err)
		}
		if g.Lobby().Overloaded() || g.Stats().Overloads != 1 {
			t.Errorf("%+v", g.Stats())
		}
	})
}

// A portable loop blocks on channels and timers only, so time can be faked.
func TestPortableInSynctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, err := New(Options{Portable: true, Loops: 1})
		if err != nil {
			t.Fatal(err)
		}
		a, b := net.Pipe()
		defer b.Close()
		fired := make(chan time.Time, 1)
		g.Adopt(a, nil, &hooks{
			open:    func(c *Conn) { c.SetDeadline(10 * time.Minute) },
			timeout: func(c *Conn) { fired <- c.Loop().Now() },
		})
		start := time.Now()
		synctest.Wait()
		if d := (<-fired).Sub(start); d < 10*time.Minute || d > 10*time.Minute+200*time.Millisecond {
			t.Errorf("fired after %v", d)
		}
		g.Close()
	})
}
