//go:build unix

package netloop

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mycelium-rt/mycelium/internal/leaktest"
)

// starvedChild tells this test binary to be the process that runs out of descriptors, and how.
const starvedChild = "NETLOOP_STARVED_CHILD"

// Without free descriptors a listener rests, says so once, goes on serving its connections, and accepts again later.
func TestAcceptWithoutDescriptors(t *testing.T) {
	eachSlow(t, func(t *testing.T, w way) {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), starvedChild+"="+w.name)
		child.Stderr = os.Stderr
		began := time.Now()
		in, err := child.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		defer child.Wait()
		defer in.Close()
		var addr string
		if _, err := fmt.Fscanln(out, &addr); err != nil {
			t.Fatal(err)
		}
		served := func(c net.Conn) bool {
			c.SetDeadline(time.Now().Add(100 * time.Millisecond))
			c.Write([]byte("x"))
			_, err := io.ReadFull(c, make([]byte, 1))
			return err == nil
		}
		first := dial(t, addr)
		eventually(t, "first served", func() bool { return served(first) })
		conns := []*net.TCPConn{}
		for range 40 { // more than the child can open
			conns = append(conns, dial(t, addr))
		}
		last := conns[len(conns)-1]
		if served(last) {
			t.Fatal("the child was not starved")
		}
		time.Sleep(3 * acceptPause)
		eventually(t, "first still served", func() bool { return served(first) })
		for _, c := range conns[:len(conns)-1] {
			c.Close()
		}
		eventually(t, "last served", func() bool { return served(last) })
		in.Close()
		var reports int
		most := 1 + int(time.Since(began)/acceptReport)
		if _, err := fmt.Fscanln(out, &reports); err != nil || reports < 1 || reports > most {
			t.Errorf("%d reports, %v, want %d at most", reports, err, most)
		}
	})
}

// starve is the child: it echoes with few descriptors until its standard input ends.
func starve() int {
	limit := uint64(leaktest.Descriptors() + 24)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var reports atomic.Int64
	i := slices.IndexFunc(ways, func(w way) bool { return w.name == os.Getenv(starvedChild) })
	g, err := New(ways[i].with(Options{Loops: 1, OnError: func(error) { reports.Add(1) }}))
	if err == nil {
		var ln *Listener
		if ln, err = g.Listen("127.0.0.1:0", func(netip.AddrPort) Handler { return &hooks{data: echo} }); err == nil {
			fmt.Println(ln.Addr())
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	io.Copy(io.Discard, os.Stdin)
	fmt.Println(reports.Load())
	g.Close()
	return 0
}
