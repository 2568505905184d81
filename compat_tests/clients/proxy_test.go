package clients

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
)

// proxy is between a client and the server, to cut connections as a network does, without
// a Close frame.
type proxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup // accept and one pair of copies for each connection

	mu    sync.Mutex // guards what follows
	conns map[*net.TCPConn]bool
}

// startProxy forwards a free port to target until the test ends.
func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target, conns: map[*net.TCPConn]bool{}}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		listener.Close() // which cannot fail in a way that matters
		p.cut()
		p.running.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// cut resets all open connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.SetLinger(0) // it is closed in any case
	}
	for conn := range p.conns { // forward may close some of them at the same time
		conn.Close() // with a reset
	}
}

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.running.Go(func() { p.forward(conn.(*net.TCPConn)) })
		}
	}
}

// forward forwards a connection until either side closes it.
func (p *proxy) forward(client *net.TCPConn) {
	p.add(client)
	defer p.end(client)
	dialed, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	server := dialed.(*net.TCPConn)
	p.add(server)
	defer p.end(server)
	var back sync.WaitGroup
	back.Go(func() {
		io.Copy(client, server) // the peers see how it ends
		client.Close()          // so that the other copy ends too
	})
	io.Copy(server, client) // as above
	server.Close()          // as above
	back.Wait()
}

func (p *proxy) add(conn *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[conn] = true
}

func (p *proxy) end(conn *net.TCPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
	conn.Close() // it may be closed already
}

// TestProxy sends bytes through the proxy in both directions until it cuts the connection.
func TestProxy(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	p := startProxy(t, echo.Addr().String())
	conn, err := net.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	behind, err := echo.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer behind.Close()
	got := make([]byte, 5)
	for _, way := range [][2]net.Conn{{conn, behind}, {behind, conn}} {
		if _, err := io.WriteString(way[0], "hello"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(way[1], got); err != nil || string(got) != "hello" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	p.cut()
	for _, end := range []net.Conn{conn, behind} {
		if _, err := end.Read(got); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after the cut: got %v, want a reset", err)
		}
	}
}
