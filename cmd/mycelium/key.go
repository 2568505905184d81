package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/mycelium-rt/mycelium/httpapi"
	"github.com/mycelium-rt/mycelium/internal/keyfile"
)

const keyUsage = `mycelium key makes and shows keys of the HTTP API.

Usage:

  mycelium key new NAME --scope admin
  mycelium key new NAME --scope publish --scope read --instance 'chat-*'
        Makes a key and prints it, once. The server's configuration gets its hash.
  mycelium key show [ADDRESS]
        Prints the key that a running server made because its configuration has
        none. It works for the same user on the same machine. ADDRESS is the
        server's address; the default is MYCELIUM_SERVER or http://localhost:4000.

Scopes: read (look at instances), publish (broadcast, push, disconnect, signal …),
admin (create, change, drain and delete, and everything the others permit).

Flags:

`

// keys carries out "mycelium key".
func keys(args, environ []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == "show" {
		return showKey(args[1:], environ, stdout, stderr)
	}
	return makeKey(args, stdout, stderr)
}

// showKey carries out "mycelium key show".
func showKey(args, environ []string, stdout, stderr io.Writer) int {
	server := environment(environ, "MYCELIUM_SERVER", defaultServer)
	switch {
	case len(args) == 1 && isHelp(args[0]):
		fmt.Fprint(stdout, keyUsage)
		return 0
	case len(args) > 1:
		return misused(stderr, "key", errors.New("wrong number of arguments; usage: mycelium key show [ADDRESS]"))
	case len(args) == 1:
		server = args[0]
	}
	key, err := keyfile.Find(environ, serverURL(server))
	if err != nil {
		return failed(stderr, "key", err)
	}
	fmt.Fprintln(stdout, key.Secret)
	return 0
}

// makeKey carries out "mycelium key new".
func makeKey(args []string, stdout, stderr io.Writer) int {
	flags := pflag.NewFlagSet("key", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	scopes := flags.StringArray("scope", nil, "what the key permits: read, publish or admin; may be repeated")
	ids := flags.StringArray("instance", nil, "`pattern` of the instances it is for, such as 'chat-*'; may be repeated; default: all")
	err := flags.Parse(args)
	if errors.Is(err, pflag.ErrHelp) || flags.NArg() == 1 && flags.Arg(0) == "help" {
		fmt.Fprint(stdout, keyUsage, flags.FlagUsagesWrapped(80))
		return 0
	}
	if err == nil && flags.Arg(0) != "new" {
		err = unknownCommand(flags.Arg(0), []string{"new", "show"})
	}
	if err == nil && flags.NArg() != 2 {
		err = errors.New("wrong number of arguments; usage: mycelium key new NAME --scope SCOPE")
	}
	if err != nil {
		return misused(stderr, "key", err)
	}
	list := make([]httpapi.Scope, len(*scopes))
	for i, s := range *scopes {
		list[i] = httpapi.Scope(s)
	}
	secret, key := httpapi.NewKey(flags.Arg(1), list, *ids)
	if err := key.Validate(); err != nil {
		return misused(stderr, "key", err)
	}
	fmt.Fprintf(stdout, "The key, which cannot be shown again:\n\n  %s\n\nIn the server's configuration file:\n\napi:\n  keys:\n    - name: %s\n      hash: %s\n      scopes: %s\n",
		secret, key.Name, key.Hash, yamlList(*scopes))
	if len(*ids) > 0 {
		fmt.Fprintf(stdout, "      instances: %s\n", yamlList(*ids))
	}
	return 0
}

// yamlList writes texts as a YAML list on one line.
func yamlList(texts []string) string {
	list := "["
	for i, text := range texts {
		if i > 0 {
			list += ", "
		}
		list += fmt.Sprintf("%q", text)
	}
	return list + "]"
}
