package netloop

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mycelium-rt/mycelium/internal/certtest"
	"github.com/mycelium-rt/mycelium/internal/heaptest"
	"github.com/mycelium-rt/mycelium/internal/race"
)

// listenTLS serves handlers over TLS.
func listenTLS(t testing.TB, g *Group, accept Accept) string {
	t.Helper()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := g.Serve(NewTLSListener(nl, certificate(t)), accept)
	if err != nil {
		t.Fatal(err)
	}
	return ln.Addr().String()
}

// pieces is a connection that sends a few bytes at a time.
type pieces struct {
	net.Conn
	random *mathrand.Rand
}

func (p pieces) Write(b []byte) (n int, err error) {
	for len(b) > 0 && err == nil {
		var some int
		most := 1 + p.random.IntN(min(len(b), 1<<p.random.IntN(17)))
		some, err = p.Conn.Write(b[:most])
		n += some
		b = b[some:]
	}
	return n, err
}

var tlsVersions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

// TestSecuredEcho sends and gets back messages of all sizes, in records that arrive in
// pieces, to a client that reads slowly at times. No connection keeps a goroutine.
func TestSecuredEcho(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for name, version := range tlsVersions {
			t.Run(name, func(t *testing.T) {
				g := newGroup(t, w.with(Options{Loops: 1, OutboundLimit: 8 << 20, SendBuffer: 8 << 10}))
				opened := make(chan *Conn, 1)
				addr := listenTLS(t, g, func(netip.AddrPort) Handler { return &hooks{open: func(c *Conn) { opened <- c }, data: echo} })
				random := mathrand.New(mathrand.NewPCG(1, uint64(version)))
				before := runtime.NumGoroutine()
				c := tls.Client(pieces{dial(t, addr), random}, trusting(version))
				if err := c.Handshake(); err != nil {
					t.Fatal(err)
				}
				on(t, receive(t, "the connection", opened), func() {})
				if !w.options.Portable {
					eventually(t, "no goroutine of the connection", func() bool { return runtime.NumGoroutine() <= before })
				}
				var sent bytes.Buffer
				for _, size := range []int{1, 100, 5_000, 16 << 10, 17_000, 70_000, 300_000, 1 << 20} {
					message := make([]byte, size)
					for i := range message {
						message[i] = byte(random.Uint32())
					}
					sent.Write(message)
				}
				go func(all []byte) {
					for len(all) > 0 {
						n := min(len(all), 1+random.IntN(100_000))
						c.Write(all[:n])
						all = all[n:]
					}
				}(sent.Bytes())
				got := make([]byte, sent.Len())
				for n := 0; n < len(got); {
					some, err := c.Read(got[n:])
					if err != nil {
						t.Fatalf("after %d of %d bytes: %v", n, len(got), err)
					}
					n += some
					if n>>15 != (n-some)>>15 {
						time.Sleep(time.Millisecond) // the loop cannot send everything at once
					}
				}
				if !bytes.Equal(got, sent.Bytes()) {
					t.Error("what comes back is not what was sent")
				}
			})
		}
	})
}

// TestSecuredEnds: each way in which a connection ends is told to its handler, and to a
// peer that is there.
func TestSecuredEnds(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for name, c := range map[string]struct {
			end  func(c *tls.Conn, raw *net.TCPConn)
			want string // of the handler's reason
			peer string // what the peer reads at last, if it looks
		}{
			"close_notify": {func(c *tls.Conn, _ *net.TCPConn) { c.CloseWrite() }, ErrPeerClosed.Error(), ""},
			"FIN":          {func(_ *tls.Conn, raw *net.TCPConn) { raw.CloseWrite() }, ErrPeerClosed.Error(), ""},
			"reset":        {func(_ *tls.Conn, raw *net.TCPConn) { raw.SetLinger(0); raw.Close() }, ErrPeerReset.Error(), ""},
			"a forged record": {func(_ *tls.Conn, raw *net.TCPConn) {
				raw.Write([]byte("\x17\x03\x03\x00\x20" + strings.Repeat("x", 32)))
			}, "bad record MAC", "remote error: tls: bad record MAC"},
			"no record":    {func(_ *tls.Conn, raw *net.TCPConn) { raw.Write([]byte("GET / HTTP/1.1\r\n\r\n")) }, "tls: ", "remote error: tls: "},
			"the server's": {func(c *tls.Conn, _ *net.TCPConn) { c.Write([]byte("end")) }, "told to", "EOF"},
		} {
			t.Run(name, func(t *testing.T) {
				g := newGroup(t, w.with(Options{Loops: 1}))
				reasons := make(chan error, 1)
				ended := &atomic.Int32{}
				nl, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer nl.Close()
				raw := dial(t, nl.Addr().String())
				accepted, err := nl.Accept()
				if err != nil {
					t.Fatal(err)
				}
				wire := NewWire(accepted, nil, func() { ended.Add(1) })
				opened := make(chan *Conn, 1)
				err = g.Adopt(tls.Server(wire, certificate(t)), nil, &hooks{
					open: func(c *Conn) { opened <- c },
					data: func(c *Conn, data []byte) {
						echo(c, data)
						if string(data) == "end" {
							c.CloseAfterFlush(errToldTo, 0)
						}
					},
					close: func(_ *Conn, reason error) { reasons <- reason },
				})
				if err != nil {
					t.Fatal(err)
				}
				client := tls.Client(raw, trusting(tls.VersionTLS13))
				if _, err := io.WriteString(client, "hello"); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(client, make([]byte, 5)); err != nil {
					t.Fatal(err)
				}
				c.end(client, raw)
				if c.peer != "" {
					text, err := io.ReadAll(client)
					if err == nil {
						err = io.EOF
					}
					if !strings.HasPrefix(err.Error(), c.peer) || err == io.EOF && string(text) != "end" {
						t.Errorf("the peer reads %q, %v", text, err)
					}
					raw.Close()
				}
				if reason := receive(t, "HandleClose", reasons); !strings.Contains(reason.Error(), c.want) {
					t.Errorf("closed because %v, want %v", reason, c.want)
				}
				eventually(t, "the end of the wire", func() bool { return ended.Load() == 1 })
			})
		}
	})
}

var errToldTo = errors.New("told to")

// TestSecuredKeyUpdates: a client may update its keys, but not all the time, because that costs
// the loop more than it costs the client.
func TestSecuredKeyUpdates(t *testing.T) {
	g := newGroup(t, Options{Loops: 1})
	reasons := make(chan error, 2)
	addr := listenTLS(t, g, func(netip.AddrPort) Handler {
		return &hooks{data: echo, close: func(_ *Conn, reason error) { reasons <- reason }}
	})
	raw := dial(t, addr)
	records, c, err := certtest.NewRecords(raw, trusting(tls.VersionTLS13))
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	for range maxEmptyRecords {
		if _, err := raw.Write(records.Append(records.AppendKeyUpdate(nil), certtest.Application, []byte("hello"))); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	for len(reasons) == 0 { // crypto/tls refuses 17 in a row
		var b []byte
		for range 10 {
			b = records.AppendKeyUpdate(b)
		}
		if _, err := raw.Write(records.Append(b, certtest.Application, []byte("x"))); err != nil {
			break // the server has closed the connection
		}
	}
	if reason := receive(t, "HandleClose", reasons); !errors.Is(reason, errEmptyRecords) {
		t.Errorf("closed because %v", reason)
	}
}

// TestWire: it follows records however their bytes come, and bounds what waits encrypted.
func TestWire(t *testing.T) {
	var stream []byte
	sizes := []int{0, 1, 300, 16 << 10, 0, 5, 65_535}
	for _, n := range sizes {
		stream = append(stream, 23, 3, 3, byte(n>>8), byte(n))
		stream = append(stream, make([]byte, n)...)
	}
	buf := make([]byte, 40_000)
	for _, piece := range []int{1, 3, 7, 1000, len(stream)} {
		w := NewWire(nil, nil, nil)
		for rest := stream; len(rest) > 0; {
			n := min(piece, len(rest))
			w.unread = rest[:n]
			rest = rest[n:]
			for {
				if n, err := w.Read(buf); err != nil {
					break
				} else if n > 5 && w.record.head == 0 && w.record.body != 0 {
					t.Fatal("a read goes beyond a record")
				}
			}
		}
		if w.empty != int32(len(sizes))*recordsPerEmpty || w.record != (record{}) {
			t.Errorf("in pieces of %d: %d, %+v", piece, w.empty, w.record)
		}
	}
	w := NewWire(nil, nil, nil)
	for range maxSealed / 1000 {
		if _, err := w.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(make([]byte, 1000)); !errors.Is(err, ErrSlowReceiver) || !w.full {
		t.Errorf("%v", err)
	}
}

// TestSecuredRenegotiation: a client of TLS 1.2 that wants to begin again is refused.
func TestSecuredRenegotiation(t *testing.T) {
	g := newGroup(t, Options{Loops: 1})
	reasons := make(chan error, 1)
	addr := listenTLS(t, g, func(netip.AddrPort) Handler {
		return &hooks{data: echo, close: func(_ *Conn, reason error) { reasons <- reason }}
	})
	for name, message := range map[string][]byte{
		"ClientHello": append([]byte{1, 0, 0, 38, 3, 3}, make([]byte, 36)...), "HelloRequest": {0, 0, 0, 0}, "no message": {99, 0, 0, 0},
	} {
		raw := dial(t, addr)
		records, c, err := certtest.NewRecords(raw, trusting(tls.VersionTLS12))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := raw.Write(records.Append(nil, certtest.Application, []byte("hello"))); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
			t.Fatalf("%s: before: %v", name, err)
		}
		if _, err := raw.Write(records.Append(nil, certtest.Handshake, message)); err != nil {
			t.Fatal(err)
		}
		if reason := receive(t, "HandleClose", reasons); !strings.Contains(reason.Error(), "tls: ") {
			t.Errorf("%s: closed because %v", name, reason)
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%s: the client is sent more", name)
		}
	}
}

// TestSecuredTrickle: bytes that a peer goes on sending give a connection that closes no more time, though they complete
// no record.
func TestSecuredTrickle(t *testing.T) {
	eachSlow(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{Loops: 1, Tick: 10 * time.Millisecond}))
		reason := make(chan error, 1)
		addr := listenTLS(t, g, func(netip.AddrPort) Handler {
			return &hooks{
				data:  func(c *Conn, _ []byte) { c.CloseAfterFlush(errToldTo, 300*time.Millisecond) },
				close: func(_ *Conn, err error) { reason <- err },
			}
		})
		raw := dial(t, addr)
		c := tls.Client(raw, trusting(tls.VersionTLS13))
		if _, err := io.WriteString(c, "end"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); err != nil { // it closes
			t.Fatal(err)
		}
		raw.Write([]byte("\x17\x03\x03\x40\x00")) // it may be closed already
		for began := time.Now(); time.Since(began) < patience; {
			select {
			case err := <-reason:
				if err != errToldTo {
					t.Errorf("%v, want %v", err, errToldTo)
				}
				return
			case <-time.After(10 * time.Millisecond):
				raw.Write([]byte("x")) // as above
			}
		}
		t.Error("it is still open")
	})
}

// TestSecuredWithoutLending: with a version of crypto/tls that has other buffers, everything
// works as before, at the cost of memory.
func TestSecuredWithoutLending(t *testing.T) {
	raw, hand := rawInput, handshake
	rawInput, handshake = 0, 0
	defer func() { rawInput, handshake = raw, hand }()
	if LendsBuffers() {
		t.Error("buffers are lent")
	}
	t.Run("echo", TestSecuredEcho)
	t.Run("detach", TestSecuredDetach)
}

// TestSecuredDetach: a connection becomes an ordinary tls.Conn and goes back to a loop.
func TestSecuredDetach(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{Loops: 2}))
		detached := make(chan net.Conn, 1)
		addr := listenTLS(t, g, func(netip.AddrPort) Handler {
			return &hooks{data: func(c *Conn, data []byte) {
				nc, err := c.Detach()
				if err != nil {
					t.Error(err)
				}
				detached <- nc
			}}
		})
		c := tls.Client(dial(t, addr), trusting(tls.VersionTLS13))
		if _, err := io.WriteString(c, "out"); err != nil {
			t.Fatal(err)
		}
		nc := receive(t, "the connection", detached)
		if nc.RemoteAddr().String() != c.LocalAddr().String() {
			t.Errorf("it is that of %s, want %s", nc.RemoteAddr(), c.LocalAddr())
		}
		nc.SetDeadline(time.Now().Add(patience))
		got := make([]byte, 5)
		for _, text := range []string{"there", "again"} {
			if _, err := io.WriteString(c, text); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(nc, got); err != nil || string(got) != text {
				t.Fatalf("%q, %v", got, err)
			}
			if _, err := nc.Write(got); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
				t.Fatalf("%q, %v", got, err)
			}
		}
		if err := g.Adopt(nc, nil, &hooks{data: echo}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "back."); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "back." {
			t.Fatalf("%q, %v", got, err)
		}
	})
}

// TestMemoryOfSecured: an idle TLS connection has neither goroutine nor buffer.
func TestMemoryOfSecured(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector needs memory of its own: make test-budgets runs it without")
	}
	if rawInput == 0 || handshake == 0 {
		t.Error("this version of crypto/tls has other buffers: see borrow_linux.go")
	}
	for name, version := range tlsVersions {
		t.Run(name, func(t *testing.T) {
			const clients = 400
			g := newGroup(t, Options{Loops: 1})
			addr := listenTLS(t, g, func(netip.AddrPort) Handler { return &hooks{data: echo} })
			var fds []int // raw, so that the peers' ends cost no heap
			defer func() {
				for _, fd := range fds {
					unix.Close(fd)
				}
			}()
			visit := func() {
				nc, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				c := tls.Client(nc, trusting(version))
				large := bytes.Repeat([]byte("x"), 20_000)
				go c.Write(large)
				if _, err := io.ReadFull(c, make([]byte, len(large))); err != nil {
					t.Fatal(err)
				}
				fd, err := duplicate(nc.(*net.TCPConn))
				if err != nil {
					t.Fatal(err)
				}
				fds = append(fds, fd)
			}
			for range 10 {
				visit()
			}
			goroutines, heap := runtime.NumGoroutine(), heaptest.Live()
			for range clients {
				visit()
			}
			per := (float64(heaptest.Live()) - float64(heap)) / clients
			t.Logf("%.0f bytes of live heap per idle connection", per)
			if per > 5000 {
				t.Errorf("%.0f bytes per idle connection", per)
			}
			eventually(t, "no goroutine of a connection", func() bool { return runtime.NumGoroutine() <= goroutines })
		})
	}
}
