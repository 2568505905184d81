package netloop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

var uringWay = ways[1]

// crowd opens n connections to one loop, and returns both their ends in the same order.
func crowd(t *testing.T, g *Group, n int, closed func(c *Conn, reason error)) ([]*Conn, []*net.TCPConn) {
	t.Helper()
	opened := make(chan *Conn, 1)
	addr := listen(t, g, func(netip.AddrPort) Handler {
		return &hooks{open: func(c *Conn) { opened <- c }, close: closed}
	})
	conns, peers := make([]*Conn, n), make([]*net.TCPConn, n)
	for i := range n {
		peers[i] = dial(t, addr)
		conns[i] = receive(t, "HandleOpen", opened)
	}
	return conns, peers
}

func TestIOUringOption(t *testing.T) {
	uringWay.possible(t)
	for _, c := range []struct {
		options Options
		plain   error
		refused error
	}{
		{options: Options{}},
		{options: Options{IOUring: IOUringOn}},
		{options: Options{IOUring: IOUringOff}, plain: errIOUringOff},
		{options: Options{Portable: true}, plain: errNoDescriptors},
		{options: Options{Portable: true, IOUring: IOUringOn}, refused: errNoDescriptors},
	} {
		g, err := New(c.options)
		if err != c.refused {
			t.Errorf("%+v: %v, want %v", c.options, err, c.refused)
		}
		if err != nil {
			continue
		}
		if plain := g.PlainSends(); plain != c.plain {
			t.Errorf("%+v: plain sends because of %v, want %v", c.options, plain, c.plain)
		}
		g.Close()
	}
}

// More joined frames than a batch has room for leave in several batches, and still in one write per receiver.
func TestBatchesOfJoinedFrames(t *testing.T) {
	uringWay.possible(t)
	const receivers, frames, size = 150, 30, 1000
	g := newGroup(t, uringWay.with(Options{Loops: 1}))
	conns, peers := crowd(t, g, receivers, nil)
	on(t, conns[0], func() {
		for i := range frames {
			for j, c := range conns {
				c.Send(frameOf(bytes.Repeat([]byte{byte(i), byte(j)}, size/2)))
			}
		}
	})
	for j, p := range peers {
		got := make([]byte, frames*size)
		if _, err := io.ReadFull(p, got); err != nil {
			t.Fatal(err)
		}
		for i := range frames {
			if !bytes.Equal(got[i*size:][:size], bytes.Repeat([]byte{byte(i), byte(j)}, size/2)) {
				t.Fatalf("receiver %d: frame %d is wrong", j, i)
			}
		}
	}
	eventually(t, "written", func() bool { return g.Stats().BytesOut == receivers*frames*size })
	if n := g.Stats().Writes; n != receivers {
		t.Errorf("%d writes for %d receivers", n, receivers)
	}
}

// Of one batch, some receivers have reset, some take only a part, and some are closing: each fares as if it were alone.
func TestBatchOfAllKinds(t *testing.T) {
	uringWay.possible(t)
	const each, size, large = 15, 100, 8 << 20
	type kind struct {
		name  string
		bytes int
		reset bool
		ends  error
	}
	kinds := []kind{
		{name: "plain", bytes: size},
		{name: "reset", bytes: size, reset: true},
		{name: "more than the socket takes", bytes: large},
		{name: "closing", bytes: size, ends: io.EOF},
	}
	reasons := make(chan error, 2*each)
	g := newGroup(t, uringWay.with(Options{Loops: 1, OutboundLimit: 2 * large}))
	conns, peers := crowd(t, g, each*len(kinds), func(c *Conn, reason error) {
		select {
		case reasons <- reason:
		default: // the test is over
		}
	})
	on(t, conns[0], func() {
		for i, c := range conns {
			k := kinds[i%len(kinds)]
			if k.reset {
				peers[i].SetLinger(0)
				peers[i].Close()
			}
			c.Send(frameOf(bytes.Repeat([]byte{byte(i)}, k.bytes)))
			if k.ends != nil {
				c.CloseAfterFlush(k.ends, patience)
			}
		}
	})
	eventually(t, "as many to wait for room as take only a part", func() bool {
		blocked := 0
		on(t, conns[0], func() {
			for _, c := range conns {
				if c.flags&flagBlocked != 0 {
					blocked++
				}
			}
		})
		return blocked == each
	})
	for i, p := range peers {
		k := kinds[i%len(kinds)]
		if k.reset {
			continue
		}
		got := make([]byte, k.bytes)
		if _, err := io.ReadFull(p, got); err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, k.bytes)) {
			t.Fatalf("%s: %v, or wrong bytes", k.name, err)
		}
		if k.ends != nil {
			if n, err := p.Read(got); n != 0 || err != io.EOF {
				t.Errorf("%s: %d bytes and %v after the end", k.name, n, err)
			}
			p.Close()
		}
	}
	count := map[error]int{}
	for range 2 * each {
		count[receive(t, "HandleClose", reasons)]++
	}
	if count[io.EOF] != each || count[ErrPeerReset] != each {
		t.Errorf("reasons of closed connections: %v", count)
	}
}

// A descriptor that is closed and opened anew between two batches never gets what was meant for the one before it.
func TestBatchesAndReusedDescriptors(t *testing.T) {
	uringWay.possible(t)
	g := newGroup(t, uringWay.with(Options{Loops: 1}))
	const receivers, rounds = 50, 20
	frame := frameOf([]byte("old"))
	defer frame.Release()
	for range rounds {
		conns, peers := crowd(t, g, receivers, nil)
		on(t, conns[0], func() {
			for i, c := range conns {
				frame.Retain(1)
				c.Send(frame)
				if i%2 == 1 {
					c.Close(io.EOF) // the frame waits and its connection is gone: nothing may be sent
				}
			}
		})
		for i, p := range peers {
			got, want := make([]byte, 3), 3*(1-i%2)
			if n, err := io.ReadFull(p, got[:max(want, 1)]); n != want || (err == nil) != (want > 0) {
				t.Fatalf("receiver %d: %d bytes, %v", i, n, err)
			}
			p.Close()
		}
	}
	eventually(t, "all closed", func() bool { return g.Stats().Connections == 0 })
	if n := g.Stats().Writes; n != rounds*receivers/2 {
		t.Errorf("%d writes, want %d", n, rounds*receivers/2)
	}
}

// forbiddenChild tells this test binary to be the process that is forbidden to use io_uring: that cannot be undone.
const forbiddenChild = "NETLOOP_FORBIDDEN_CHILD"

// Where io_uring is forbidden, as containers do it, loops send without it, those too that had begun with it.
func TestIOUringForbidden(t *testing.T) {
	uringWay.possible(t)
	if os.Getenv(forbiddenChild) == "" {
		child := exec.Command(os.Args[0], "-test.run=^TestIOUringForbidden$", "-test.v")
		child.Env = append(os.Environ(), forbiddenChild+"=1")
		if out, err := child.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS")) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	told := make(chan error, 10)
	g := newGroup(t, uringWay.with(Options{Loops: 1, OnError: func(err error) { told <- err }}))
	conns, peers := crowd(t, g, 3*batchSize/2, nil)
	forbidIOUring(t)
	for range 2 {
		on(t, conns[0], func() {
			for _, c := range conns {
				c.Send(frameOf([]byte("frame")))
			}
		})
		for i, p := range peers {
			got := make([]byte, 5)
			if _, err := io.ReadFull(p, got); err != nil || string(got) != "frame" {
				t.Fatalf("receiver %d: %q, %v", i, got, err)
			}
		}
	}
	if err := receive(t, "OnError", told); !errors.Is(err, unix.EPERM) || len(told) != 0 {
		t.Errorf("told of %v and %d more", err, len(told))
	}
	if plain := newGroup(t, Options{}).PlainSends(); !errors.Is(plain, unix.EPERM) {
		t.Errorf("plain sends because of %v", plain)
	}
	if _, err := New(Options{IOUring: IOUringOn}); !errors.Is(err, unix.EPERM) {
		t.Errorf("not refused: %v", err)
	}
}

// forbidIOUring makes io_uring_setup and io_uring_enter fail with EPERM in all threads of this process.
func forbidIOUring(t *testing.T) {
	t.Helper()
	const setTSync = 1 // SECCOMP_FILTER_FLAG_TSYNC
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the system call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_IO_URING_SETUP, Jt: 2},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_IO_URING_ENTER, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, setTSync, uintptr(unsafe.Pointer(&filter)))
	if errno != 0 {
		t.Fatal(errno)
	}
}
