package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/mycelium-rt/mycelium/internal/apiclient"
	"github.com/mycelium-rt/mycelium/internal/keyfile"
)

// apiCall is one command line that calls the API of a server.
type apiCall struct {
	ctx     context.Context
	client  *apiclient.Client
	stdout  io.Writer
	args    []string // behind the verb
	asJSON  bool
	keyless error // why no key is sent; nil if one is
}

// verbCommand is a command whose verbs call the API.
type verbCommand struct {
	name, usage string
	flags       *pflag.FlagSet
	// choose returns what a verb does. It checks the arguments and flags.
	choose func(verb string) (run func() error, err error)
}

// carryOut runs the verb of a command line, and returns the exit code.
func (c *apiCall) carryOut(cmd verbCommand, args, environ []string, stderr io.Writer) int {
	verb := ""
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	cmd.flags.SetOutput(io.Discard)
	server := cmd.flags.String("server", environment(environ, "MYCELIUM_SERVER", defaultServer), "`address` of the server; MYCELIUM_SERVER sets it too")
	key := cmd.flags.String("key", "", "API `key`; better set in the environment: MYCELIUM_KEY. Default: the key that a server on this machine made for itself")
	err := cmd.flags.Parse(args)
	if errors.Is(err, pflag.ErrHelp) || isHelp(verb) {
		fmt.Fprint(c.stdout, cmd.usage, cmd.flags.FlagUsagesWrapped(80))
		return 0
	}
	var run func() error
	if err == nil {
		c.args = cmd.flags.Args()
		run, err = cmd.choose(verb)
	}
	if err == nil {
		var k keyfile.Key
		k, c.keyless = keyFor(serverURL(*server), *key, environ)
		c.client, err = apiclient.New(k.Server, k.Secret)
	}
	if err != nil {
		return misused(stderr, cmd.name, err)
	}
	defer c.client.Close()
	if err := run(); err != nil {
		return c.failed(stderr, cmd.name, err)
	}
	return 0
}

// failed reports the error of a call, and returns the exit code for it.
func (c *apiCall) failed(stderr io.Writer, command string, err error) int {
	failed(stderr, command, err)
	var refused *apiclient.Error
	if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized && c.keyless != nil {
		fmt.Fprintf(stderr, "No key was sent: neither --key nor MYCELIUM_KEY is set, and %v.\n", c.keyless)
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		fmt.Fprintln(stderr, "\"mycelium serve\" starts a server; --server or MYCELIUM_SERVER names another one.")
	}
	return 1
}

// wrongArguments is the error for a verb with too few or too many arguments.
func wrongArguments(usage, command, verb string) error {
	return fmt.Errorf("%s: wrong number of arguments; usage: %s", verb, usageOf(usage, command, verb))
}

// usageOf returns the first line of the usage that describes a verb.
func usageOf(usage, command, verb string) string {
	begin := "mycelium " + command + " " + verb
	for line := range strings.Lines(usage) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, begin+" ") {
			return line
		}
	}
	return begin
}

// defaultServer is the address of a server with default options.
const defaultServer = "http://localhost:4000"

// serverURL completes an address of a server that was written without its scheme
// or host, such as "localhost:4000" or ":4000".
func serverURL(address string) string {
	if strings.Contains(address, "://") {
		return address
	}
	if strings.HasPrefix(address, ":") {
		address = "localhost" + address
	}
	return "http://" + address
}

// keyFor returns the key to send: the given one, or else the key that a server
// on this machine has saved. If there is no key, the error says why.
func keyFor(server, given string, environ []string) (keyfile.Key, error) {
	if secret := cmp.Or(given, environment(environ, "MYCELIUM_KEY", "")); secret != "" {
		return keyfile.Key{Secret: secret, Server: server}, nil
	}
	key, err := keyfile.Find(environ, server)
	if err != nil {
		return keyfile.Key{Server: server}, err
	}
	return key, nil
}

// environment returns the value of a variable, or otherwise if it is not set.
func environment(environ []string, name, otherwise string) string {
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return otherwise
}
