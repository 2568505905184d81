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
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// run executes a command line and returns the exit code: 0, 1 if the command
// failed, 2 if the command line or the configuration is invalid.
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

// version returns the version of the module, or of the commit it was built
// from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	return info.Main.Version
}
