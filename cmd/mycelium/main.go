// Command mycelium is a realtime server for the clients of Phoenix Channels.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/mycelium-rt/mycelium/internal/bench"
)

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
	name := "serve"
	switch {
	case len(args) == 0:
	case args[0] == "--version" || args[0] == "-v":
		name, args = "version", args[1:]
	case args[0] == "--help" || args[0] == "-h":
		name, args = "help", args[1:]
	case !strings.HasPrefix(args[0], "-"):
		name, args = args[0], args[1:]
	}
	for _, c := range commands() {
		if c.name == name {
			return c.run(ctx, invocation{args, environ, stdout, stderr})
		}
	}
	return misused(stderr, "", unknownCommand(name, commandNames()))
}

// version is the module's, or that of the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	return info.Main.Version
}
