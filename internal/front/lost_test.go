package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/admission"
	"github.com/mycelium-rt/mycelium/internal/certtest"
	"github.com/mycelium-rt/mycelium/internal/netloop"
)

// What comes behind the handshake is the socket's also if it was read by net/http and came over TLS.
func TestEarlyBytesBehindPageOverTLS(t *testing.T) {
	both(t, func(t *testing.T, portable bool) {
		authority := certtest.New(t)
		s := serve(t, portable, admission.Limits{}, func(o *Options, _ *Terms) {
			o.TLS = &tls.Config{Certificates: []tls.Certificate{authority.Server()}}
		})
		raw := s.dial(t)
		secured := tls.Client(raw, authority.Trusting())
		c := &client{secured, bufio.NewReader(secured)}
		c.write(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if status, body, _ := c.answer(t); status != 200 || body != "a page" {
			t.Fatalf("status %d, %q", status, body)
		}
		c.write(t, upgrade("")+"early")
		if status, _, _ := c.answer(t); status != 101 {
			t.Fatalf("status %d", status)
		}
		c.expectEcho(t, "early")
	})
}

// opened is an echo that says which connection it has.
type opened struct {
	echo
	conn chan *netloop.Conn
}

func (o *opened) HandleOpen(c *netloop.Conn) { o.conn <- c }

// If the connection to the node that serves a client is lost on its way to the loop, the client is answered at once, and
// the connection is counted no longer.
func TestSpliceLost(t *testing.T) {
	s := forwarding(t, false, false, netloop.Options{})
	loop := s.options.Loops.Loops()[0]
	ours, theirs := net.Pipe()
	theirs.SetDeadline(time.Now().Add(patience))
	defer theirs.Close()
	handler := &opened{conn: make(chan *netloop.Conn, 1)}
	if err := loop.Adopt(ours, nil, handler); err != nil {
		t.Fatal(err)
	}
	one := &splice{splices: s.splices, loop: loop, to: s.node.Elsewhere("b", s.owner.Addr().String())}
	one.client, one.node = clientEnd{one, <-handler.conn}, nodeEnd{splice: one}
	conn, err := one.to.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	one.node.HandleLost(io.ErrUnexpectedEOF)
	if got, err := io.ReadAll(theirs); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 503 ") {
		t.Errorf("%q, %v", got, err)
	}
	if st := s.node.Stats(); st.Open != 0 || st.Failures != 1 {
		t.Errorf("%+v", st)
	}
}

// A handshake is ended, and its place given back, if its connection is lost on its way from net/http to the loop.
func TestUpgradeLost(t *testing.T) {
	s := serve(t, false, admission.Limits{MaxConnections: 1}, nil)
	ticket, err := s.gate.EnterPeer(netip.MustParseAddr("192.0.2.1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	u := &upgraded{ticket: ticket, request: request{terms: s.mount.terms, head: newHead()}}
	u.request.handshake = s.mount.NewHandshake(u.request.head, Client{})
	u.HandleLost(io.ErrUnexpectedEOF)
	if s.gate.Full() || s.mount.released.Load() != 1 {
		t.Errorf("it is still counted, or not released (%d)", s.mount.released.Load())
	}
	if ticket, err = s.gate.EnterPeer(netip.MustParseAddr("192.0.2.1"), nil); err != nil {
		t.Fatal(err)
	}
	(&arrival{front: s.Front, ticket: ticket, counted: true}).HandleLost(io.ErrUnexpectedEOF)
	if s.gate.Full() {
		t.Error("the arrival is still counted")
	}
}
