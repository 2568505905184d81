package channels_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// ward has the instance "one" at node 1 of a fleet; the other nodes know that.
type ward struct {
	*fleet
	guest   *channels.Endpoint
	here    atomic.Bool           // node 1 has it
	clients chan channels.Request // who has connected to it
}

func openWard(t testing.TB, f *fleet, chs ...*channels.Channel) *ward {
	t.Helper()
	w := &ward{fleet: f, clients: make(chan channels.Request, 100)}
	w.here.Store(true)
	var err error
	if w.guest, err = channels.NewEndpoint(channels.Options{Host: f.nodes[1].Endpoint}); err != nil {
		t.Fatal(err)
	}
	w.guest.Socket("/", channels.SocketOptions{LongPoll: longPolling, Connect: func(_ context.Context, s *channels.Socket, r *channels.Request) error {
		s.SetID("user:" + r.Params.Get("user"))
		select {
		case w.clients <- *r:
		default:
		}
		return nil
	}}, append(chs, relayAll())...)
	for i, n := range f.nodes {
		n.Route("/ward", func(below string) (*channels.Endpoint, string, error) {
			id, rest, _ := strings.Cut(below, "/")
			switch {
			case id != "one":
				return nil, "", &channels.RefusedError{Status: http.StatusNotFound}
			case i == 1 && w.here.Load():
				return w.guest, "/" + rest, nil
			case i == 1: // it takes node 2 for the owner, which knows better
				return nil, "", n.elsewhere(f.nodes[2])
			}
			return nil, "", n.elsewhere(f.nodes[1])
		})
	}
	return w
}

// TestForwardedSocket: a client of an instance at another node notices nothing, and
// that node sees the client, not the node in between.
func TestForwardedSocket(t *testing.T) {
	eachFleet(t, channels.SocketOptions{}, func(t *testing.T, f *fleet) {
		w := openWard(t, f)
		far := f.nodes[0].dialTarget(t, "/ward/one/websocket?vsn=2.0.0&user=ada", http.Header{
			"X-Mycelium-Forwarded": {"1 192.0.2.1:1 https - AAAA"}, "User-Agent": {"far"}, "Cookie": {"a=b"},
		})
		near := f.nodes[1].dialTarget(t, "/ward/one/websocket?vsn=2.0.0&user=bob", nil)
		seen := <-w.clients
		if seen.RemoteAddr.String() != far.Conn().LocalAddr().String() || seen.URL.Scheme != "http" || seen.URL.Host != "localhost" ||
			seen.Header.Get("User-Agent") != "far" || seen.Header.Get("Cookie") != "a=b" || seen.Header.Get("X-Mycelium-Forwarded") != "" {
			t.Errorf("the instance saw %v %v %v", seen.RemoteAddr, seen.URL, seen.Header)
		}
		joinRef := far.join("room", "{}")
		near.join("room", "{}")
		for i := range 100 {
			payload := fmt.Sprintf(`{"i":%d,"text":%q}`, i, strings.Repeat("y", i*100))
			far.push(joinRef, "room", "said", payload)
			if m := near.await("said"); string(m.payload) != payload {
				t.Fatalf("message %d: %s", i, m.payload)
			}
		}
		if s := f.nodes[0].node.Stats(); s.Open != 1 || s.Connections != 1 || s.Failures != 0 {
			t.Errorf("at the client's node: %+v", s)
		}
		if s, own := w.guest.Stats(), f.nodes[0].Stats(); s.Sockets != 2 || own.Sockets != 0 {
			t.Errorf("%d sockets at the instance, %d at the client's node", s.Sockets, own.Sockets)
		}
		if err := w.guest.Disconnect("user:ada"); err != nil {
			t.Fatal(err)
		}
		if code := far.closeCode(); code != 1000 && code != 1012 && code != 1001 {
			t.Errorf("close code %d", code)
		}
		waitFor(t, "the end of the forwarded connection", func() bool { return f.nodes[0].node.Stats().Open == 0 })
	}, rooms)
}

// TestForwardedAfterPage: a client is forwarded on a connection that has fetched a page
// before.
func TestForwardedAfterPage(t *testing.T) {
	eachFleet(t, channels.SocketOptions{}, func(t *testing.T, f *fleet) {
		w := openWard(t, f)
		p := f.nodes[0].raw(t)
		if err := p.WriteRaw([]byte("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		p.Conn().SetReadDeadline(time.Now().Add(patience))
		b := make([]byte, 4096)
		n, err := p.Conn().Read(b)
		if err != nil || !strings.HasSuffix(string(b[:n]), "404 page not found\n") {
			t.Fatalf("%q %v", b[:n], err)
		}
		if err := p.WriteRaw(wstest.AppendHandshake(nil, "/ward/one/websocket?vsn=2.0.0", nil)); err != nil {
			t.Fatal(err)
		}
		if err := p.ReadHandshake(); err != nil {
			t.Fatal(err)
		}
		seen := <-w.clients
		if seen.RemoteAddr.String() != p.Conn().LocalAddr().String() {
			t.Errorf("the instance saw %v", seen.RemoteAddr)
		}
		p.join("room", "{}")
	}, rooms)
}

// TestForwardedOnce: nodes that disagree about where an instance is do not send its
// clients around.
func TestForwardedOnce(t *testing.T) {
	eachFleet(t, channels.SocketOptions{}, func(t *testing.T, f *fleet) {
		w := openWard(t, f)
		w.here.Store(false)
		for _, upgrade := range []bool{true, false} {
			for _, id := range []string{"one", "none"} {
				p := f.nodes[0].raw(t)
				head := wstest.AppendHandshake(nil, "/ward/"+id+"/websocket?vsn=2.0.0", nil)
				if !upgrade {
					head = []byte("GET /ward/" + id + "/longpoll?vsn=2.0.0 HTTP/1.1\r\nHost: a\r\n\r\n")
				}
				if err := p.WriteRaw(head); err != nil {
					t.Fatal(err)
				}
				want := map[string]string{"one": "503", "none": "404"}[id] // the second is not forwarded at all
				answer := make([]byte, 4096)
				p.Conn().SetReadDeadline(time.Now().Add(patience))
				n, err := p.Conn().Read(answer)
				if text := string(answer[:n]); err != nil || !strings.HasPrefix(text, "HTTP/1.1 "+want) || id == "one" && !strings.Contains(text, "Retry-After: ") {
					t.Errorf("upgrade %v of %s: %v %q", upgrade, id, err, text)
				}
			}
		}
		if s := f.nodes[2].node.Stats(); s.ReceivedConnections+s.ReceivedRequests != 0 {
			t.Errorf("%+v: forwarded twice", s)
		}
	}, rooms)
}

// TestForwardedPolls: long polling of an instance at another node, whichever nodes the
// requests reach.
func TestForwardedPolls(t *testing.T) {
	eachFleet(t, channels.SocketOptions{LongPoll: longPolling}, func(t *testing.T, f *fleet) {
		openWard(t, f)
		c := f.nodes[0].poller(t)
		c.target = "/ward/one/longpoll?vsn=2.0.0"
		turn := 0
		client := c.do
		c.do = func(r *http.Request) (*http.Response, error) {
			turn++
			r.URL.Host = f.nodes[turn%3].addr
			return client(r)
		}
		c.open()
		c.join("room")
		for i := range 100 {
			ref := fmt.Sprint(i)
			c.post(fmt.Sprintf(`["1",%q,"room","said",{}]`, ref))
			c.assertNext("", "", "room", "said", "{}")
			c.assertNext("1", ref, "room", "phx_reply", "ok {}")
		}
	}, rooms)
}

// TestForwardedToNobody: how a client is refused if the node of its instance is gone,
// does not know the other nodes, or is silent.
func TestForwardedToNobody(t *testing.T) {
	t.Parallel()
	f := joinFleet(t, 2, false, channels.Options{Limits: channels.Limits{HandshakeTimeout: shortLimit}}, channels.SocketOptions{}, rooms)
	listen := func(serve func(net.Conn)) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				serve(c)
			}
		}()
		return l.Addr().String()
	}
	closed := make(chan struct{})
	t.Cleanup(func() { close(closed) })
	targets := map[string]string{
		"a port that nobody listens on": "127.0.0.1:1",
		"no TLS":                        listen(func(c net.Conn) { c.Write([]byte("hello\r\n")); c.Close() }),
		"silent":                        listen(func(c net.Conn) { go func() { <-closed; c.Close() }() }),
	}
	i := 0
	for name, address := range targets {
		path := fmt.Sprint("/x", i)
		i++
		f.nodes[0].Route(path, func(string) (*channels.Endpoint, string, error) {
			return nil, "", f.nodes[0].node.Elsewhere("x", address)
		})
		p := f.nodes[0].raw(t)
		if err := p.WriteRaw(wstest.AppendHandshake(nil, path+"/a", nil)); err != nil {
			t.Fatal(err)
		}
		p.Conn().SetReadDeadline(time.Now().Add(patience))
		answer, _ := readAll(p.Conn())
		if name == "silent" && len(answer) == 0 {
			continue // the handshake's time was over before the dial's
		}
		if text := string(answer); !strings.HasPrefix(text, "HTTP/1.1 503") || !strings.Contains(text, "Retry-After") {
			t.Errorf("%s: %q", name, text)
		}
	}
	waitFor(t, "failures", func() bool { return f.nodes[0].node.Stats().Failures >= 2 })
}

// TestForwardedShutdown: both the client's node and the instance's end what is
// forwarded when they stop, and their clients notice.
func TestForwardedShutdown(t *testing.T) {
	t.Parallel()
	for _, stopped := range []int{0, 1} {
		eachFleet(t, channels.SocketOptions{}, func(t *testing.T, f *fleet) {
			openWard(t, f)
			var clients sync.WaitGroup
			for range 50 {
				p := f.nodes[0].dialTarget(t, "/ward/one/websocket?vsn=2.0.0", nil)
				p.join("room", "{}")
				clients.Go(func() {
					err := readToClose(p)
					if p.Drop(); err != nil && stopped != 0 { // a node cannot put a Close frame into what it does not understand
						t.Errorf("no Close frame: %v", err)
					}
				})
			}
			f.nodes[stopped].stop(t)
			clients.Wait()
			waitFor(t, "the end of the connections", func() bool { return f.nodes[0].node.Stats().Open == 0 })
		}, rooms)
	}
}

// readToClose reads until a Close frame.
func readToClose(p *peer) error {
	for {
		if op, _, err := p.ReadFrame(); err != nil || op == ws.OpClose {
			return err
		}
	}
}

// TestForwardedLimits: a client counts at the node of its instance like one that has
// connected there, by the address that a proxy names, and no longer counts when it is
// gone.
func TestForwardedLimits(t *testing.T) {
	o := channels.Options{
		Limits: channels.Limits{MaxConnectionsPerAddress: 2}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	}
	f := joinFleet(t, 3, false, o, channels.SocketOptions{}, rooms)
	w := openWard(t, f)
	dial := func(node int, client string) (*wstest.Client, error) {
		c, err := wstest.Dial(f.nodes[node].addr, "/ward/one/websocket?vsn=2.0.0", http.Header{"X-Forwarded-For": {client}})
		if err == nil {
			t.Cleanup(func() { c.Drop() })
		}
		return c, err
	}
	first, err := dial(0, "192.0.2.7")
	if err != nil {
		t.Fatal(err)
	}
	if seen := <-w.clients; seen.RemoteAddr.Addr() != netip.MustParseAddr("192.0.2.7") {
		t.Errorf("the instance saw %v", seen.RemoteAddr)
	}
	if _, err := dial(2, "192.0.2.7"); err != nil {
		t.Fatal(err)
	}
	var refused *wstest.StatusError
	if _, err := dial(0, "192.0.2.7"); !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable {
		t.Errorf("a third connection: %v", err)
	}
	if _, err := dial(0, "192.0.2.8"); err != nil {
		t.Errorf("another client: %v", err)
	}
	first.Drop()
	waitFor(t, "a place", func() bool {
		_, err := dial(0, "192.0.2.7")
		return err == nil
	})
}
