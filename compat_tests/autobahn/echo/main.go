// Echo is the server for Autobahn's fuzzing client. It sends every message back, with the
// loop, handshake and decoder that channels uses for its sockets, and nothing above them.
//
//	go run ./compat_tests/autobahn/echo -addr 127.0.0.1:9001
//
// It prints a line that begins with READY when it listens. SIGTERM or an interrupt stops
// it.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/mycelium-rt/mycelium/internal/netloop"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:9001", "TCP address to listen on")
	portable := flag.Bool("portable", false, "serve connections by goroutines of net.Conn instead of epoll")
	flag.Parse()
	if err := run(*addr, *portable); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// run serves until SIGTERM or an interrupt.
func run(addr string, portable bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	loops, err := netloop.New(netloop.Options{Portable: portable, OutboundLimit: outboundBytes})
	if err != nil {
		return err
	}
	l, err := loops.Listen(addr, func(netip.AddrPort) netloop.Handler { return new(front) })
	if err == nil {
		fmt.Printf("READY ws://%s\n", l.Addr())
		<-ctx.Done()
	}
	if closeErr := loops.Close(); err == nil {
		err = closeErr
	}
	return err
}
