package bind_test

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/addrtest"
	"github.com/mycelium-rt/mycelium/internal/bind"
)

func TestCheck(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, address := range []string{
		"127.0.0.1:0", "localhost:0", ":0", "0.0.0.0:0", "[::]:0", "[::1]:0", "[::ffff:127.0.0.1]:0",
		l.Addr().String(), "192.0.2.1:4000", "[2001:db8::1]:4000", "[fe80::1%lo]:4000",
		"127.0.0.1", "127.0.0.1:70000", "127.0.0.1:nothing", "[::1:4000", "node.invalid:4000",
	} {
		want := error(nil)
		if l, err := net.Listen("tcp", address); err != nil {
			want = err
		} else {
			l.Close()
		}
		if got := bind.Check(address); fmt.Sprint(cause(got)) != fmt.Sprint(cause(want)) {
			t.Errorf("Check(%q): %v, but net.Listen says %v", address, got, want)
		}
	}
	if err := bind.Check(l.Addr().String()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("where somebody listens: %v", err)
	}
}

// cause is what net.Listen says of itself left out.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// TestNobodyConnects: a client that tries again and again while an address is
// checked does not take the check for a server.
func TestNobodyConnects(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there Check listens for a moment")
	}
	address := addrtest.Free(t) // not a port that the kernel gives to connections: one of them would reach itself
	done := make(chan struct{})
	defer func() { <-done }()
	over := time.Now().Add(300 * time.Millisecond)
	go func() {
		defer close(done)
		for time.Now().Before(over) {
			if err := bind.Check(address); err != nil {
				t.Error(err)
			}
		}
	}()
	for time.Now().Before(over) {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			t.Fatal("a client was connected")
		}
	}
}
