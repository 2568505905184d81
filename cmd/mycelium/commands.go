package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/mycelium-rt/mycelium/internal/nearest"
)

// invocation is the part of a command line after the command's name.
type invocation struct {
	args, environ  []string
	stdout, stderr io.Writer
}

// command is one of the commands of mycelium.
type command struct {
	name    string
	summary string
	run     func(context.Context, invocation) int
}

// commands returns the commands in the order of the help text. It is a function
// because help is one of them.
func commands() []command {
	return []command{
		{"serve", "run the server; it is the default: mycelium --listen :80", func(ctx context.Context, i invocation) int {
			return serve(ctx, i.args, i.environ, i.stdout, i.stderr)
		}},
		{"config", "check or print the configuration that serve would use", func(_ context.Context, i invocation) int {
			return configure(i.args, i.environ, i.stdout, i.stderr)
		}},
		{"instances", "create, change and inspect instances of a running server", func(ctx context.Context, i invocation) int {
			return manageInstances(ctx, i.args, i.environ, i.stdout, i.stderr)
		}},
		{"hooks", "list and test webhooks, send events again, and follow events", func(ctx context.Context, i invocation) int {
			return manageHooks(ctx, i.args, i.environ, i.stdout, i.stderr)
		}},
		{"key", "make a key for the HTTP API, or show the one of a running server", func(_ context.Context, i invocation) int {
			return keys(i.args, i.environ, i.stdout, i.stderr)
		}},
		{"token", "sign or verify a token, to try out a server that requires them", func(ctx context.Context, i invocation) int {
			return tokens(ctx, i.args, i.environ, os.Stdin, i.stdout, i.stderr)
		}},
		{"cluster", "forget a node of a cluster that is gone for good", func(ctx context.Context, i invocation) int {
			return manageCluster(ctx, i.args, i.environ, i.stdout, i.stderr)
		}},
		{"doctor", "report what limits connections on this machine, and how to raise it", func(ctx context.Context, i invocation) int {
			return examine(ctx, i.args, i.environ, i.stdout, i.stderr)
		}},
		{"bench", "put a server under load", func(ctx context.Context, i invocation) int {
			return benchmark(ctx, i.args, i.stdout, i.stderr)
		}},
		{"version", "print the version", func(_ context.Context, i invocation) int { return printVersion(i) }},
		{"help", "print this text, or the help of a command", help},
	}
}

// usage is the help text without a command.
func usage() string {
	var b strings.Builder
	b.WriteString("mycelium is a realtime server for the clients of Phoenix Channels.\n\nUsage:\n\n  mycelium [command] [flags]\n\nCommands:\n\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-10s %s\n", c.name, c.summary)
	}
	b.WriteString("\n\"mycelium help COMMAND\" shows how a command is used; \"mycelium help serve\"\nlists all options of the server.\n")
	return b.String()
}

// help carries out "mycelium help".
func help(ctx context.Context, i invocation) int {
	switch len(i.args) {
	case 0:
		fmt.Fprint(i.stdout, usage())
		return 0
	case 1:
		if isHelp(i.args[0]) {
			fmt.Fprint(i.stdout, usage())
			return 0
		}
		for _, c := range commands() {
			switch {
			case c.name != i.args[0]:
			case c.name == "version":
				fmt.Fprintf(i.stdout, "mycelium %s: %s\n", c.name, c.summary)
				return 0
			default:
				i.args = []string{"--help"}
				return c.run(ctx, i)
			}
		}
		return misused(i.stderr, "help", unknownCommand(i.args[0], commandNames()))
	}
	return misused(i.stderr, "help", fmt.Errorf("unexpected argument %q", i.args[1]))
}

func commandNames() []string {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return names
}

func printVersion(i invocation) int {
	if len(i.args) > 0 && !isHelp(i.args[0]) {
		return misused(i.stderr, "version", fmt.Errorf("unexpected argument %q", i.args[0]))
	}
	fmt.Fprintln(i.stdout, "mycelium", version())
	return 0
}

func isHelp(arg string) bool { return slices.Contains([]string{"help", "--help", "-h"}, arg) }

// unknownCommand returns the error for a command that is not among names.
func unknownCommand(name string, names []string) error {
	if name == "" {
		return errors.New("missing command; the commands are " + strings.Join(names, ", "))
	}
	if meant := nearest.Of(name, names); meant != "" {
		return fmt.Errorf("unknown command %q; did you mean %s?", name, meant)
	}
	return fmt.Errorf("unknown command %q; the commands are %s", name, strings.Join(names, ", "))
}

// misused reports an invalid command line, and returns the exit code for it.
// name is the name of the command, "" for mycelium itself.
func misused(stderr io.Writer, name string, err error) int {
	failed(stderr, name, err)
	fmt.Fprintf(stderr, "Run \"%s --help\" for usage.\n", fullName(name))
	return 2
}

// failed reports the error of a command, and returns the exit code for it.
func failed(stderr io.Writer, name string, err error) int {
	fmt.Fprintf(stderr, "%s: %v\n", fullName(name), err)
	return 1
}

func fullName(name string) string { return strings.TrimSpace("mycelium " + name) }
