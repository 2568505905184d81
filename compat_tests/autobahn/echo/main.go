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
	secured := flag.Bool("tls", false, "speak TLS, with a certificate that nobody trusts")
	flag.Parse()
	if err := run(*addr, *portable, *secured); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// run serves until SIGTERM or an interrupt.
func run(addr string, portable, secured bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	loops, err := netloop.New(netloop.Options{Portable: portable, OutboundLimit: outboundBytes})
	if err != nil {
		return err
	}
	err = serve(ctx, loops, addr, secured)
	if closeErr := loops.Close(); err == nil {
		err = closeErr
	}
	return err
}

// serve serves until ctx is done.
func serve(ctx context.Context, loops *netloop.Group, addr string, secured bool) error {
	accept := func(netip.AddrPort) netloop.Handler { return new(front) }
	scheme, listen := "ws", func() (*netloop.Listener, error) { return loops.Listen(addr, accept) }
	if secured {
		scheme, listen = "wss", func() (*netloop.Listener, error) { return listenTLS(loops, addr, accept) }
	}
	l, err := listen()
	if err != nil {
		return err
	}
	fmt.Printf("READY %s://%s\n", scheme, l.Addr())
	<-ctx.Done()
	return nil
}
