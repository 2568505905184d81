// Command mycelium is a realtime server for the clients of Phoenix Channels.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/mycelium-rt/mycelium/internal/bench"
)

const usage = `mycelium is a realtime server for the clients of Phoenix Channels.

Usage:

  mycelium [serve] [flags]   run the server (the default)
  mycelium instances …       create, change and look at instances of a running server
  mycelium key new NAME      make a key for the HTTP API
  mycelium key show          print the key of a running server that has none configured
  mycelium doctor [flags]    what bounds connections on this machine, and what to do
  mycelium config check      say what is wrong with the flags, variables and file
  mycelium config print      print the configuration that they make
  mycelium token sign        make a token for trying a server that wants them
  mycelium token verify      say what a token allows, or why it is refused
  mycelium bench MODE URL    put a server under load; "mycelium bench help" says how
  mycelium version           print the version
  mycelium help              this text; "mycelium serve --help" lists the flags
`

func main() {
	bench.Worker()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends what the first has only told to
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run carries out a command line and returns the exit code: 0, 1 for what
// failed, 2 for a command line or configuration that is wrong.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	command := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	switch command {
	case "serve":
		return serve(ctx, args, environ, stdout, stderr)
	case "doctor":
		return examine(args, stdout, stderr)
	case "config":
		return configure(args, environ, stdout, stderr)
	case "token":
		return tokens(ctx, args, environ, os.Stdin, stdout, stderr)
	case "bench":
		return benchmark(ctx, args, stdout, stderr)
	case "instances":
		return remote(ctx, args, environ, stdout, stderr)
	case "key":
		return keys(args, environ, stdout, stderr)
	case "version":
		fmt.Fprintln(stdout, "mycelium", version())
		return 0
	case "help":
		fmt.Fprint(stdout, usage)
		return 0
	}
	fmt.Fprintf(stderr, "mycelium: unknown command %q; \"mycelium help\" lists the commands\n", command)
	return 2
}

// version is the module's, or that of the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	return info.Main.Version
}
