package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/mycelium-rt/mycelium/httpapi"
)

const keyUsage = `mycelium key new makes a key for the HTTP API. It is printed once; the server's
configuration gets its hash.

Usage:

  mycelium key new NAME --scope admin
  mycelium key new NAME --scope publish --scope read --instance 'chat-*'

Scopes: read (look at instances), publish (broadcast, disconnect, signal),
admin (create, change, drain and delete, and the two others).

Flags:

`

// makeKey carries out "mycelium key new".
func makeKey(args []string, stdout, stderr io.Writer) int {
	flags := pflag.NewFlagSet("key", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	scopes := flags.StringArray("scope", nil, "what the key allows: read, publish or `admin`; may come several times")
	ids := flags.StringArray("instance", nil, "`pattern` of the instances it is for, like 'chat-*'; may come several times; without it all")
	err := flags.Parse(args)
	if errors.Is(err, pflag.ErrHelp) || flags.NArg() == 1 && flags.Arg(0) == "help" {
		fmt.Fprint(stdout, keyUsage, flags.FlagUsages())
		return 0
	}
	if err == nil && (flags.NArg() != 2 || flags.Arg(0) != "new") {
		err = errors.New("write \"mycelium key new NAME --scope …\"")
	}
	if err != nil {
		fmt.Fprintf(stderr, "mycelium key: %v; \"mycelium key --help\" shows how it is used\n", err)
		return 2
	}
	list := make([]httpapi.Scope, len(*scopes))
	for i, s := range *scopes {
		list[i] = httpapi.Scope(s)
	}
	secret, key := httpapi.NewKey(flags.Arg(1), list, *ids)
	if err := key.Validate(); err != nil {
		fmt.Fprintln(stderr, "mycelium key:", err)
		return 2
	}
	fmt.Fprintf(stdout, "The key, which nobody can show again:\n\n  %s\n\nIn the server's configuration file:\n\napi:\n  keys:\n    - name: %s\n      hash: %s\n      scopes: %s\n",
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
