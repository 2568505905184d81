// Labapp is the compatibility application: the one that the recordings in
// compat_tests/transcripts were made with on a real Phoenix, once more on this
// project's public API. Real clients are tested against it too.
//
//	go run ./compat_tests/labapp -addr 127.0.0.1:4600
//
// It prints one line that begins with READY when it listens. SIGTERM drains it.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/compat_tests/pair"
	"github.com/mycelium-rt/mycelium/compat_tests/selfsigned"
	"github.com/mycelium-rt/mycelium/presence"
)

// shutdownTimeout bounds the drain.
const shutdownTimeout = 30 * time.Second

func main() {
	addr := flag.String("addr", "127.0.0.1:4600", "TCP address to listen on")
	portable := flag.Bool("portable", false, "serve connections by goroutines of net.Conn instead of epoll")
	secure := flag.Bool("tls", false, "speak TLS, with a certificate that nobody trusts")
	tcp := flag.String("tcp", "", "TCP address to serve raw TCP on too; it is printed as a line before READY")
	profile := flag.String("cpuprofile", "", "write a CPU profile to this `file`, from the start to the end")
	var flags pair.Flags
	flags.Define(flag.CommandLine)
	flag.Parse()
	if err := profiled(*profile, func() error { return run(*addr, *tcp, *portable, *secure, flags) }); err != nil {
		fmt.Fprintln(os.Stderr, "labapp:", err)
		os.Exit(1)
	}
}

// profiled calls f and writes where its time went to a file, unless it has no name.
func profiled(name string, f func() error) error {
	if name == "" {
		return f()
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := pprof.StartCPUProfile(file); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return f()
}

// run serves until SIGTERM or an interrupt.
func run(addr, tcp string, portable, secure bool, flags pair.Flags) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	node, err := flags.Join()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	certified, err := tlsConfig(secure)
	if err != nil {
		return err
	}
	log := zerolog.New(os.Stderr).Level(zerolog.WarnLevel).With().Timestamp().Logger()
	endpoint, err := channels.NewEndpoint(channels.Options{
		Logger: &log, Handler: http.HandlerFunc(notFound), Portable: portable, Bus: node.Bus(), TLS: certified,
	})
	if err != nil {
		return err
	}
	tracker := presence.New(endpoint, presence.Options{Replicator: node.Replicator()})
	mountSockets(endpoint, tracker)
	if err = listen(endpoint, addr, tcp); err == nil {
		<-ctx.Done()
		stop() // a second signal ends the process at once
	}
	down, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if downErr := endpoint.Shutdown(down); err == nil {
		err = downErr
	}
	tracker.Close()
	return err
}

// tlsConfig returns the server's TLS configuration; nil if it is not to speak TLS.
func tlsConfig(secure bool) (*tls.Config, error) {
	if !secure {
		return nil, nil
	}
	cert, err := selfsigned.New()
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{cert}}, nil
}

// listen listens on addr, and on tcp for raw TCP unless it is empty, and prints where.
func listen(endpoint *channels.Endpoint, addr, tcp string) error {
	if tcp != "" {
		at, err := endpoint.ListenTCP(tcp)
		if err != nil {
			return err
		}
		fmt.Printf("TCP %s\n", at)
	}
	at, err := endpoint.Listen(addr)
	if err == nil {
		fmt.Printf("READY http://%s\n", at)
	}
	return err
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusNotFound)
	io.WriteString(w, "lab: not found") //nolint:errcheck // the client may be gone
}
