package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/forward"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// awayHandshake is a handshake that is forwarded as it is.
const awayHandshake = "GET /away HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

// relayed is a front that forwards /away to a node whose part the test plays.
type relayed struct {
	*Front
	addr  string
	node  *forward.Node
	owner net.Listener
	ends  []net.Conn // both of each connection
}

// forwarding starts one, with plain connections to the other node or with TLS.
func forwarding(t *testing.T, portable, secure bool, o netloop.Options) *relayed {
	t.Helper()
	node, err := forward.New(forward.Options{Name: "a", Secret: bytes.Repeat([]byte{1}, 32), Insecure: !secure})
	if err != nil {
		t.Fatal(err)
	}
	s := &relayed{node: node}
	if s.owner, err = node.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	o.Loops, o.Portable = 1, portable
	loops, err := netloop.New(o)
	if err != nil {
		t.Fatal(err)
	}
	nop := zerolog.Nop()
	s.Front = New(Options{
		Loops: loops, Gate: admission.NewGate(admission.Limits{}, nil, nil), Log: logging.NewLog(&nop), HeaderBytes: 16 << 10, HandshakeTimeout: patience,
		Find: func(string) (Place, *admission.Refusal) {
			return Place{Elsewhere: node.Elsewhere("b", s.owner.Addr().String())}, nil
		},
		Handler: http.NotFoundHandler(), OnLost: func(err error) { t.Error(err) },
	})
	at, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = at.String()
	t.Cleanup(func() {
		s.CloseListeners()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		loops.Close()
		s.owner.Close()
		node.Close()
	})
	return s
}

// eachSplice runs a test on epoll and portable loops, without and with TLS between the
// nodes.
func eachSplice(t *testing.T, o netloop.Options, test func(t *testing.T, s *relayed)) {
	for _, portable := range []bool{false, true} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("portable %v, TLS %v", portable, secure), func(t *testing.T) {
				t.Parallel()
				test(t, forwarding(t, portable, secure, o))
			})
		}
	}
}

// connect returns both ends of a forwarded connection, the owner's behind the head.
func (s *relayed) connect(t *testing.T) (client *net.TCPConn, owner net.Conn, r *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	s.keep(t, c)
	if _, err := io.WriteString(c, awayHandshake); err != nil {
		t.Fatal(err)
	}
	owner, r = s.accept(t)
	return c.(*net.TCPConn), owner, r
}

// keep closes an end with the test, if closeEnds does not.
func (s *relayed) keep(t *testing.T, end net.Conn) {
	end.SetDeadline(time.Now().Add(patience))
	s.ends = append(s.ends, end)
	t.Cleanup(func() { end.Close() })
}

// closeEnds closes all ends, as clients and nodes do when they read the end of the other.
func (s *relayed) closeEnds() {
	for _, end := range s.ends {
		end.Close()
	}
}

func (s *relayed) accept(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	owner, err := s.owner.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.keep(t, owner)
	r := bufio.NewReader(owner)
	request, err := http.ReadRequest(r)
	if err != nil || request.URL.Path != "/away" {
		t.Fatalf("%+v %v", request, err)
	}
	if _, err := s.node.TakeClaim(request.Header); err != nil {
		t.Error(err)
	}
	return owner, r
}

// pour writes n bytes that are random, and returns their hash.
func pour(w io.Writer, n int64) (sum [32]byte, err error) {
	h := sha256.New()
	_, err = io.CopyN(io.MultiWriter(w, h), rand.NewChaCha8([32]byte{7}), n)
	return [32]byte(h.Sum(nil)), err
}

// TestSpliceSlowReader: neither side is sent more than the other has room for, and
// nothing is lost, whatever the policy for slow receivers is.
func TestSpliceSlowReader(t *testing.T) {
	const all = 12 << 20
	for _, o := range []netloop.Options{
		{OutboundLimit: 1 << 20, SendBuffer: 64 << 10}, {OutboundLimit: 4 << 10, Overflow: netloop.DropOldest, SendBuffer: 64 << 10},
	} {
		eachSplice(t, o, func(t *testing.T, s *relayed) {
			client, owner, r := s.connect(t)
			for _, c := range []struct {
				from io.Writer
				to   io.Reader
			}{{owner, client}, {client, r}} {
				counted := &countedWriter{Writer: c.from}
				sums := make(chan [32]byte, 1)
				go func() {
					sum, err := pour(counted, all)
					if err != nil {
						t.Error(err)
					}
					sums <- sum
				}()
				settled := counted.settle()
				if settled == all {
					t.Errorf("all %d bytes were taken from the one side before the other has read any", all)
				}
				h := sha256.New()
				if _, err := io.CopyN(h, c.to, all); err != nil {
					t.Fatalf("after %d bytes were taken: %v", settled, err)
				}
				if [32]byte(h.Sum(nil)) != <-sums {
					t.Error("other bytes have arrived")
				}
			}
		})
	}
}

// countedWriter counts what a connection takes.
type countedWriter struct {
	io.Writer
	n atomic.Int64
}

func (c *countedWriter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// settle returns how much was taken once nothing more is.
func (c *countedWriter) settle() int64 {
	for {
		before := c.n.Load()
		time.Sleep(200 * time.Millisecond)
		if n := c.n.Load(); n == before && n > 0 {
			return n
		}
	}
}

// TestSpliceEnds: when one side ends, so does the other, after everything that was sent
// before.
func TestSpliceEnds(t *testing.T) {
	eachSplice(t, netloop.Options{}, func(t *testing.T, s *relayed) {
		client, _, r := s.connect(t)
		io.WriteString(client, strings.Repeat("x", 100_000))
		client.CloseWrite()
		if got, err := io.ReadAll(r); err != nil || len(got) != 100_000 {
			t.Errorf("a client that ends its side: %d bytes, %v", len(got), err)
		}

		client, owner, _ := s.connect(t)
		io.WriteString(owner, strings.Repeat("y", 100_000))
		owner.Close()
		if got, err := io.ReadAll(client); err != nil || len(got) != 100_000 {
			t.Errorf("a node that ends: %d bytes, %v", len(got), err)
		}

		client, owner, r = s.connect(t)
		io.WriteString(owner, "z")
		if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		client.SetLinger(0)
		client.Close() // with a reset
		if got, err := io.ReadAll(r); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a client that resets: %q, %v", got, err)
		}

		client, owner, _ = s.connect(t)
		io.WriteString(owner, "z")
		if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		reset(owner)
		if got, err := io.ReadAll(client); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a node that resets: %q, %v", got, err)
		}
		s.closeEnds()
		waittest.For(t, "all connections to end", func() bool { return s.node.Stats().Open == 0 })
	})
}

// reset closes a connection with a reset.
func reset(c net.Conn) {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn().(*netloop.Wire).NetConn()
	}
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// TestSpliceEarly: what a client sends before the node is connected follows its handshake,
// however much it is.
func TestSpliceEarly(t *testing.T) {
	eachSplice(t, netloop.Options{}, func(t *testing.T, s *relayed) {
		early := strings.Repeat("early", 100_000)
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go io.WriteString(c, awayHandshake+early)
		_, r := s.accept(t)
		got := make([]byte, len(early))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != early {
			t.Errorf("%v, or other bytes", err)
		}
	})
}

// TestSpliceOwnerDies: if a node ends during a handshake, its client still gets an answer;
// if the client has gone, the connection to the node is closed.
func TestSpliceOwnerDies(t *testing.T) {
	eachSplice(t, netloop.Options{}, func(t *testing.T, s *relayed) {
		for name, end := range map[string]func(net.Conn){"closes": func(c net.Conn) { c.Close() }, "resets": reset} {
			client, owner, _ := s.connect(t)
			end(owner)
			if got, err := io.ReadAll(client); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 503 ") {
				t.Errorf("a node that %s: %q, %v", name, got, err)
			}
		}
		client, _, r := s.connect(t)
		client.Close()
		if got, err := io.ReadAll(r); err != nil || len(got) > 0 {
			t.Errorf("the node of a client that has gone: %q, %v", got, err)
		}
		s.closeEnds()
		waittest.For(t, "all connections to end", func() bool { return s.node.Stats().Open == 0 })
		if st := s.node.Stats(); st.Failures != 2 || st.Connections != 3 {
			t.Errorf("%+v", st)
		}
	})
}

// TestSpliceEnded: a shutdown ends what is forwarded, as many at a time as it is told.
func TestSpliceEnded(t *testing.T) {
	eachSplice(t, netloop.Options{}, func(t *testing.T, s *relayed) {
		var clients []io.Reader
		for range 5 {
			client, owner, _ := s.connect(t)
			io.WriteString(owner, "z")
			if _, err := io.ReadFull(client, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			clients = append(clients, client)
		}
		if ended, left := s.EndForwarded(2); ended != 2 || left < 3 {
			t.Errorf("%d ended, %d left", ended, left)
		}
		if ended, _ := s.EndForwarded(100); ended != 3 {
			t.Errorf("%d ended", ended)
		}
		for _, c := range clients {
			if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
				t.Errorf("%q, %v", got, err)
			}
		}
		s.closeEnds()
		waittest.For(t, "all to end", func() bool { _, left := s.EndForwarded(1); return left == 0 })
	})
}
