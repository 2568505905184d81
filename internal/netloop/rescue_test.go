package netloop

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/callback"
)

// faults are what the code in a handler or a task may do.
var faults = map[string]func(){
	"panic":  func() { panic("boom") },
	"nil":    func() { panic(nil) },
	"Goexit": runtime.Goexit,
}

// A handler that fails ends its connection, in whichever callback it does, and no other. The loop goes on, and ends
// with its group.
func TestHandlerFails(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for name, fault := range faults {
			for _, where := range []string{"open", "data", "timeout", "close"} {
				t.Run(name+" in "+where, func(t *testing.T) { testHandlerFails(t, w, where, fault) })
			}
		}
	})
}

func testHandlerFails(t *testing.T, w way, where string, fault func()) {
	var reported atomic.Int64
	g := newGroup(t, w.with(Options{Loops: 1, Tick: 5 * time.Millisecond, OnError: func(err error) {
		var p *callback.PanicError
		if !errors.As(err, &p) {
			t.Error("OnError:", err)
		}
		reported.Add(1)
	}}))
	const conns = 20
	closed := make(chan error, conns)
	bad := listen(t, g, func(netip.AddrPort) Handler {
		h := &hooks{data: echo, close: func(_ *Conn, reason error) { closed <- reason }}
		switch where {
		case "open":
			h.open = func(*Conn) { fault() }
		case "data":
			h.data = func(*Conn, []byte) { fault() }
		case "timeout":
			h.open, h.timeout = func(c *Conn) { c.SetDeadline(time.Millisecond) }, func(*Conn) { fault() }
		case "close":
			h.data = func(c *Conn, _ []byte) { c.Close(io.ErrUnexpectedEOF) }
			h.close = func(_ *Conn, reason error) { closed <- reason; fault() }
		}
		return h
	})
	good := dial(t, listen(t, g, func(netip.AddrPort) Handler { return &hooks{data: echo} }))
	talk := func() {
		t.Helper()
		if _, err := good.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(good, make([]byte, 5)); err != nil {
			t.Fatal("the other connection: ", err)
		}
	}
	talk()
	peers := make([]*net.TCPConn, conns)
	for i := range peers {
		peers[i] = dial(t, bad)
		peers[i].Write([]byte("x")) // it may be closed already
	}
	want := ErrHandlerFailed
	if where == "close" {
		want = io.ErrUnexpectedEOF
	}
	for i, p := range peers {
		if reason := receive(t, "HandleClose", closed); reason != want {
			t.Errorf("closed with %v, want %v", reason, want)
		}
		if i%5 == 0 {
			talk()
		}
		io.Copy(io.Discard, p) // the deadline of dial, if it is not closed
	}
	talk()
	eventually(t, "all failures are reported", func() bool { return reported.Load() == conns })
	if n := len(g.Loops()[0].conns); g.Close() != nil || n > 1+conns {
		t.Errorf("the group does not close, or has %d connections", n)
	}
}

// A task that fails costs no other, also of those that wait behind it.
func TestTaskFails(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for name, fault := range faults {
			t.Run(name, func(t *testing.T) {
				g := newGroup(t, w.with(Options{Loops: 2, OnError: func(error) {}}))
				c, peer := connect(t, g, &hooks{data: echo})
				const tasks = 500
				var ran atomic.Int64
				for i := range tasks {
					c.Loop().Post(TaskFunc(func() {
						ran.Add(1)
						c.Send(frameOf([]byte("."))) // is written although every turn is cut short
						if i%3 == 0 {
							fault()
						}
					}))
				}
				if _, err := io.ReadFull(peer, make([]byte, tasks)); err != nil {
					t.Error(err)
				}
				if n := ran.Load(); n != tasks {
					t.Errorf("%d of %d tasks ran", n, tasks)
				}
				if err := g.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

// A group ends although handlers fail while it does.
func TestCloseWithFailingHandlers(t *testing.T) {
	each(t, func(t *testing.T, w way) {
		for name, fault := range faults {
			t.Run(name, func(t *testing.T) {
				g := newGroup(t, w.with(Options{Loops: 2, OnError: func(error) {}}))
				var opened, closed atomic.Int64
				addr := listen(t, g, func(netip.AddrPort) Handler {
					return &hooks{open: func(*Conn) { opened.Add(1) }, close: func(*Conn, error) { closed.Add(1); fault() }}
				})
				const conns = 30
				for range conns {
					dial(t, addr)
				}
				eventually(t, "all are open", func() bool { return opened.Load() == conns })
				done := make(chan error, 1)
				go func() { done <- g.Close() }()
				if err := receive(t, "Close", done); err != nil || closed.Load() != conns {
					t.Errorf("closed with %v, and %d of %d handlers know", err, closed.Load(), conns)
				}
			})
		}
	})
}
