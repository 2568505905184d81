package front

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/logging"
	"github.com/mycelium-rt/mycelium/internal/netloop"
	"github.com/mycelium-rt/mycelium/internal/websocket"
)

// patience is how long a test waits for what must happen.
const patience = 90 * time.Second

// echoMount is a socket that sends back the bytes that it gets. What its Connect
// does is the request's query.
type echoMount struct {
	terms    Terms
	blocked  chan struct{} // a Connect that blocks is in it
	goOn     chan struct{} // closed when it may go on
	begun    atomic.Int64
	released atomic.Int64
	tokens   chan string
}

func (m *echoMount) Terms() Terms { return m.terms }

func (m *echoMount) Spawn(a *Attempt) { go a.Run() }

func (m *echoMount) NewHandshake(head *websocket.Request, _ Client) Handshake {
	m.begun.Add(1)
	return &echoHandshake{mount: m, do: head.RawQuery, origin: head.Header.Get("Origin")}
}

type echoHandshake struct {
	mount      *echoMount
	do, origin string
}

func (h *echoHandshake) CheckOrigin() *admission.Refusal {
	if h.origin != "" {
		return admission.TextRefusal(403, "no pages")
	}
	return nil
}

func (h *echoHandshake) Connect(ctx context.Context, token *string) *admission.Refusal {
	if token != nil {
		h.mount.tokens <- *token
	}
	switch h.do {
	case "deny":
		return admission.Forbidden
	case "block":
		h.mount.blocked <- struct{}{}
		select {
		case <-h.mount.goOn:
		case <-ctx.Done():
			return admission.Crashed
		}
	}
	return nil
}

func (h *echoHandshake) Open(c *netloop.Conn, accept websocket.Accept, t *admission.Ticket) {
	c.SetHandler(&echo{ticket: t})
	send(c, websocket.AppendAccept(nil, accept))
}

func (h *echoHandshake) Release() { h.mount.released.Add(1) }

type echo struct{ ticket *admission.Ticket }

func send(c *netloop.Conn, b []byte) {
	f := netloop.NewFrame(len(b))
	f.SetBytes(append(f.Bytes(), b...))
	c.Send(f)
}

func (e *echo) HandleOpen(*netloop.Conn)                {}
func (e *echo) HandleData(c *netloop.Conn, data []byte) { send(c, data) }
func (e *echo) HandleTimeout(*netloop.Conn)             {}
func (e *echo) HandleClose(_ *netloop.Conn, err error)  { e.ticket.Leave() }
func (m *echoMount) find(p string) (Place, *admission.Refusal) {
	switch p {
	case "/echo":
		return Place{Mount: m}, nil
	case "/poll":
		return Place{Polled: true}, nil
	case "/gone":
		return Place{}, admission.TextRefusal(410, "gone")
	}
	return Place{}, nil
}

// server is a front on a loop of its own.
type server struct {
	*Front
	mount *echoMount
	gate  *admission.Gate
	addr  string
}

// serve starts a front and ends it with the test. All handshakes must have been
// released then.
func serve(t *testing.T, portable bool, limits admission.Limits, change func(*Options, *Terms)) *server {
	t.Helper()
	loops, err := netloop.New(netloop.Options{Loops: 1, Portable: portable, OutboundLimit: 1 << 20, OnError: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	nop := zerolog.Nop()
	s := &server{gate: admission.NewGate(limits, nil, nil)}
	s.mount = &echoMount{blocked: make(chan struct{}), goOn: make(chan struct{}), tokens: make(chan string, 1)}
	s.mount.terms = Terms{Gate: s.gate, Log: logging.NewLog(&nop), HandshakeTimeout: patience, ReuseHead: true}
	o := Options{
		Loops: loops, Gate: s.gate, Log: s.mount.terms.Log, HeaderBytes: 16 << 10, HandshakeTimeout: patience,
		Find: s.mount.find, OnLost: func(err error) { t.Error(err) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch at, ref := s.mount.find(Path(r)); {
			case at.Mount != nil:
				s.Upgrade(w, r, at.Mount)
			case ref != nil:
				ref.Write(w)
			default:
				io.WriteString(w, "a page")
			}
		}),
	}
	if change != nil {
		change(&o, &s.mount.terms)
	}
	s.Front = New(o)
	at, err := s.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = at.String()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		s.CloseListeners()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		loops.Close()
		if begun, released := s.mount.begun.Load(), s.mount.released.Load(); begun != released {
			t.Errorf("%d handshakes, %d were released", begun, released)
		}
		if _, err := s.Listen("127.0.0.1:0"); err != netloop.ErrClosed { //nolint:errorlint // it says so
			t.Errorf("listening after the end: %v", err)
		}
	})
	return s
}

// both runs a test on epoll and on net.Conn.
func both(t *testing.T, test func(t *testing.T, portable bool)) {
	t.Run("epoll", func(t *testing.T) { t.Parallel(); test(t, false) })
	t.Run("portable", func(t *testing.T) { t.Parallel(); test(t, true) })
}

type client struct {
	net.Conn
	r *bufio.Reader
}

func (s *server) dial(t *testing.T) *client {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &client{c, bufio.NewReader(c)}
}

func (c *client) write(t *testing.T, s string) {
	t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
}

// answer reads a response. The body of a 101 is not there.
func (c *client) answer(t *testing.T) (status int, body string, h http.Header) {
	t.Helper()
	r, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil && r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(err)
	}
	return r.StatusCode, string(b), r.Header
}

// upgrade is a handshake with a query and more header lines.
func upgrade(query string, lines ...string) string {
	head := "GET /echo?" + query + " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	return head + strings.Join(append(lines, ""), "\r\n") + "\r\n"
}

func (c *client) expectEcho(t *testing.T, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != want {
		t.Fatalf("%q comes back, %v; want %q", got, err, want)
	}
}

func TestOutcomes(t *testing.T) {
	const page = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
		counted func(r *admission.Refusals) *atomic.Int64 // nil: not as a refusal of the front
	}{
		"admitted":       {upgrade(""), 101, nil},
		"origin":         {upgrade("", "Origin: http://x"), 403, nil},
		"denied":         {upgrade("deny"), 403, nil},
		"subprotocol":    {upgrade("", "Sec-WebSocket-Protocol: other"), 403, func(r *admission.Refusals) *atomic.Int64 { return &r.Protocol }},
		"method":         {strings.Replace(upgrade("deny"), "GET", "PUT", 1), 400, func(r *admission.Refusals) *atomic.Int64 { return &r.Malformed }},
		"query":          {upgrade("%ff"), 400, func(r *admission.Refusals) *atomic.Int64 { return &r.Malformed }},
		"no upgrade":     {"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 400, func(r *admission.Refusals) *atomic.Int64 { return &r.Malformed }},
		"denied earlier": {"GET /echo?deny HTTP/1.1\r\nHost: x\r\n\r\n", 403, nil},
		"a path's":       {"GET /gone HTTP/1.1\r\nHost: x\r\n\r\n", 410, nil},
		"page":           {page, 200, nil},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, portable bool) {
				for _, way := range []string{"on the loop", "on a goroutine", "behind a page"} {
					s := serve(t, portable, admission.Limits{}, func(_ *Options, terms *Terms) {
						terms.MayBlock = way == "on a goroutine"
						terms.Subprotocols.Accepted = []string{"a"}
					})
					client := s.dial(t)
					if way == "behind a page" {
						client.write(t, page)
						client.answer(t)
					}
					client.write(t, c.request)
					if status, _, _ := client.answer(t); status != c.status {
						t.Errorf("%s: %d, want %d", way, status, c.status)
					}
					if c.counted != nil && c.counted(&s.gate.Refusals).Load() != 1 {
						t.Errorf("%s: not counted", way)
					}
				}
			})
		})
	}
}

// What comes behind the handshake is the socket's, also while Connect blocks.
func TestEarlyBytes(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		for _, piece := range []int{1 << 10, 1, 7} {
			s := serve(t, portable, admission.Limits{}, nil)
			c := s.dial(t)
			for request := upgrade("") + "early"; len(request) > 0; {
				n := min(piece, len(request))
				c.write(t, request[:n])
				request = request[n:]
			}
			if status, _, _ := c.answer(t); status != 101 {
				t.Fatalf("status %d", status)
			}
			c.expectEcho(t, "early")
		}
		s := serve(t, portable, admission.Limits{}, mayBlock)
		c := s.dial(t)
		c.write(t, upgrade("block")+"early ")
		<-s.mount.blocked
		c.write(t, "and earlier than the answer")
		close(s.mount.goOn)
		if status, _, _ := c.answer(t); status != 101 {
			t.Fatalf("status %d", status)
		}
		c.expectEcho(t, "early and earlier than the answer")
	})
}

func mayBlock(_ *Options, terms *Terms) { terms.MayBlock = true }

// A Connect that blocks holds up nobody else on its loop. A client that leaves
// meanwhile leaves nothing behind.
func TestConnectBlocks(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, portable, admission.Limits{}, mayBlock)
		slow, gone := s.dial(t), s.dial(t)
		for _, c := range []*client{slow, gone} {
			c.write(t, upgrade("block"))
			<-s.mount.blocked
		}
		quick := s.dial(t)
		quick.write(t, upgrade(""))
		if status, _, _ := quick.answer(t); status != 101 {
			t.Errorf("another client: %d", status)
		}
		gone.Close()
		close(s.mount.goOn)
		if status, _, _ := slow.answer(t); status != 101 {
			t.Errorf("the slow one: %d", status)
		}
	})
}

func TestToken(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, portable, admission.Limits{}, func(_ *Options, terms *Terms) { terms.Subprotocols.AuthToken = true })
		c := s.dial(t)
		c.write(t, upgrade("", "Sec-WebSocket-Protocol: phoenix, base64url.bearer.phx.YWJj"))
		status, _, h := c.answer(t)
		if token := <-s.mount.tokens; status != 101 || token != "abc" || h.Get("Sec-WebSocket-Protocol") != "phoenix" {
			t.Errorf("%d, token %q, subprotocol %q", status, token, h.Get("Sec-WebSocket-Protocol"))
		}
	})
}

// Each connection has one place, whatever it becomes, and gives it back.
func TestConnectionsAreCounted(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		const page = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
		for name, requests := range map[string][]string{
			"socket": {upgrade("")}, "page": {page}, "socket behind a page": {page, upgrade("")},
			"refused": {upgrade("deny")}, "malformed": {"GET\r\n\r\n"}, "nothing": nil, "TLS": {"\x16"},
		} {
			s := serve(t, portable, admission.Limits{MaxConnections: 1}, nil)
			for range 3 {
				c := s.dial(t)
				waitFor(t, name+" is counted", s.gate.Full)
				for _, r := range requests {
					c.write(t, r)
					c.answer(t)
				}
				c.Close()
				waitFor(t, name+" is counted no more", func() bool { return !s.gate.Full() })
			}
			if n := s.gate.Refusals.Limit.Load(); n != 0 {
				t.Errorf("%s: %d refusals by the limit", name, n)
			}
		}
	})
}

// At MaxConnections a new connection takes the place of one without a request.
func TestIdleConnectionMakesRoom(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		s := serve(t, portable, admission.Limits{MaxConnections: 1}, nil)
		kept := s.dial(t)
		kept.write(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		kept.answer(t)
		waitFor(t, "the kept connection is idle", func() bool {
			s.http.mu.Lock()
			defer s.http.mu.Unlock()
			return s.http.idle.Len() == 1
		})
		c := s.dial(t)
		c.write(t, upgrade(""))
		if status, _, _ := c.answer(t); status != 101 {
			t.Errorf("the new one: %d", status)
		}
		if _, err := kept.r.ReadByte(); err == nil {
			t.Error("the kept one is still open")
		}
		if n := s.gate.Refusals.Limit.Load(); n != 0 {
			t.Errorf("%d refusals are counted, although nobody was refused", n)
		}
		last := s.dial(t)
		if _, err := last.r.ReadByte(); err == nil {
			t.Error("a socket has made room")
		}
		if n := s.gate.Refusals.Limit.Load(); n != 1 {
			t.Errorf("%d refusals are counted, want 1", n)
		}
	})
}

func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
