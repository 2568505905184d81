package netloop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
)

// tlsPair returns the two ends of a TLS connection: the server's, over a Wire, and its TCP connection, and the client's.
func tlsPair(t *testing.T) (server *tls.Conn, tcp net.Conn, client *tls.Conn) {
	t.Helper()
	nl, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer nl.Close()
	raw := dial(t, nl.Addr().String())
	if tcp, err = nl.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tcp.Close() })
	return tls.Server(NewWire(tcp, nil, nil), certificate(t)), tcp, tls.Client(raw, trusting(tls.VersionTLS13))
}

// completeHandshake completes the handshake of both ends, while the test has them.
func completeHandshake(t *testing.T, server, client *tls.Conn) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), receive(t, "the client's handshake", done)); err != nil {
		t.Fatal(err)
	}
}

// What was read of a TLS connection before it was adopted is handled before what has yet to be decrypted.
func TestAdoptSecuredLeftover(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		g := newGroup(t, w.with(Options{Loops: 1}))
		server, _, client := tlsPair(t)
		completeHandshake(t, server, client)
		if _, err := io.WriteString(client, "first second "); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("first "))
		if _, err := io.ReadFull(server, got); err != nil {
			t.Fatal(err)
		}
		if err := g.Adopt(server, got, &hooks{data: echo}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(client, "third"); err != nil {
			t.Fatal(err)
		}
		all := make([]byte, len("first second third"))
		if n, err := io.ReadFull(client, all); err != nil {
			t.Errorf("%q, %v", all[:n], err)
		}
		if string(all) != "first second third" {
			t.Errorf("%q comes back", all)
		}
	})
}

// lostHooks is a handler that is told if its connection is lost before HandleOpen.
type lostHooks struct {
	hooks
	lost chan error
}

func (h *lostHooks) HandleLost(reason error) { h.lost <- reason }

// The handler of an adopted connection is told what becomes of it even if it is lost before it is open.
func TestAdoptLost(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		t.Run("handshake fails", func(t *testing.T) {
			g := newGroup(t, w.with(Options{Loops: 1}))
			server, tcp, _ := tlsPair(t)
			h := &lostHooks{lost: make(chan error, 1)}
			tcp.Close()
			if err := g.Adopt(server, nil, h); err != nil {
				t.Fatal(err)
			}
			if err := receive(t, "HandleLost", h.lost); err == nil {
				t.Error("there is no reason")
			}
			if s := g.Stats(); s.Refused != 1 {
				t.Errorf("%+v", s)
			}
		})
		t.Run("no descriptor", func(t *testing.T) {
			g := newGroup(t, w.with(Options{Loops: 1}))
			server, tcp, client := tlsPair(t)
			completeHandshake(t, server, client)
			h := &lostHooks{lost: make(chan error, 1)}
			h.close = func(_ *Conn, reason error) { h.lost <- reason } // a portable loop needs none
			tcp.Close()
			if err := g.Adopt(server, nil, h); err != nil {
				t.Fatal(err)
			}
			if err := receive(t, "HandleLost", h.lost); err == nil {
				t.Error("there is no reason")
			}
		})
		t.Run("group closes", func(t *testing.T) {
			g := newGroup(t, w.with(Options{Loops: 1}))
			l := g.Loops()[0]
			open := gated(t, l)
			ours, theirs := net.Pipe()
			defer theirs.Close()
			h := &lostHooks{lost: make(chan error, 1)}
			if err := g.Adopt(ours, nil, h); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the connection waits for its loop", func() bool {
				l.mu.Lock()
				defer l.mu.Unlock()
				return len(l.lobby.inbox) > 0
			})
			go g.Close()
			eventually(t, "the loop is told to end", func() bool {
				l.mu.Lock()
				defer l.mu.Unlock()
				return len(l.urgent) > 0
			})
			open()
			if err := receive(t, "HandleLost", h.lost); err != ErrClosed {
				t.Errorf("%v, want %v", err, ErrClosed)
			}
		})
	})
}
