package main

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/mycelium-rt/mycelium/internal/config"
)

const configUsage = `mycelium config reads the configuration that "mycelium serve" would use with the
same flags and environment variables. It does not start a server.

Usage:

  mycelium config check [--strict] [flags]
        Prints all errors and warnings. The exit code is 2 if there are errors, and
        0 otherwise; with --strict, it is 1 if there are warnings.
  mycelium config print [--source] [flags]
        Prints every option as a YAML file, without secrets. With --source, it also
        prints where each value came from.

"mycelium serve --help" lists the flags.
`

// configure carries out "mycelium config".
func configure(args, environ []string, stdout, stderr io.Writer) int {
	verb := ""
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	switch verb {
	case "check":
		return checkConfig(args, environ, stdout, stderr)
	case "print":
		return printConfig(args, environ, stdout, stderr)
	case "help", "--help", "-h":
		fmt.Fprint(stdout, configUsage)
		return 0
	}
	return misused(stderr, "config", unknownCommand(verb, []string{"check", "print"}))
}

func checkConfig(args, environ []string, stdout, stderr io.Writer) int {
	args, strict := without(args, "--strict")
	l, code := loadChecked(args, environ, configUsage, stdout, stderr)
	if l == nil {
		return code
	}
	cfg := l.cfg
	for _, w := range cfg.Warnings {
		fmt.Fprintln(stderr, "warning:", w)
	}
	if strict && len(cfg.Warnings) > 0 {
		return 1
	}
	fmt.Fprintln(stdout, "the configuration is valid")
	return 0
}

func printConfig(args, environ []string, stdout, stderr io.Writer) int {
	args, sources := without(args, "--source")
	cfg, code := loadConfig(args, environ, configUsage, stdout, stderr)
	if cfg == nil {
		return code
	}
	text, err := cfg.YAML(sources)
	if err != nil {
		return failed(stderr, "config", err)
	}
	fmt.Fprint(stdout, text)
	return 0
}

// loadConfig returns the configuration. If it has errors, or args ask for help,
// loadConfig prints these and returns nil and the exit code.
func loadConfig(args, environ []string, help string, stdout, stderr io.Writer) (*config.Config, int) {
	cfg, err := config.Load(args, environ)
	switch {
	case errors.Is(err, config.ErrHelp):
		fmt.Fprint(stdout, help)
		return nil, 0
	case err != nil:
		fmt.Fprintln(stderr, err)
		return nil, 2
	}
	return cfg, 0
}

// loadChecked is like loadConfig, but also prints everything else that a server with
// the configuration would fail on.
func loadChecked(args, environ []string, help string, stdout, stderr io.Writer) (*loaded, int) {
	var l *loaded
	cfg, err := config.Load(args, environ)
	var wrong *config.Error
	switch {
	case err == nil:
		l, err = checkAlone(cfg)
	case errors.Is(err, config.ErrHelp):
		fmt.Fprint(stdout, help)
		return nil, 0
	case errors.As(err, &wrong) && wrong.Partial != nil:
		wrong.Problems = append(wrong.Problems, checkRest(wrong.Partial)...)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return nil, 2
	}
	return l, 0
}

// without removes a flag of the command itself from the server's flags.
func without(args []string, flag string) (rest []string, found bool) {
	rest = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == flag })
	return rest, len(rest) < len(args)
}
