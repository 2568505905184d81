// Command replay plays recordings of a real Phoenix against a server and prints which
// of them the server answers in the same way.
//
//	go run ./compat_tests/replay -addr 127.0.0.1:4000 compat_tests/transcripts
//
// The server must run the compatibility application. The exit status is 1 if a scenario
// failed and 2 if there was none to play.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/compat_tests/replay/conformance"
)

// settings are the flags and the folder of recordings.
type settings struct {
	addr      string
	dir       string
	run       *regexp.Regexp
	transport string
	better    bool
	verbose   bool
	patience  time.Duration
}

func main() {
	s, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	failed, err := replay(ctx, s, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "replay:", err)
		os.Exit(2)
	}
	if failed > 0 {
		os.Exit(1)
	}
}

func parse(args []string, out io.Writer) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("replay", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() {
		fmt.Fprintln(out, "usage: replay -addr HOST:PORT [flags] DIR")
		flags.PrintDefaults()
	}
	flags.StringVar(&s.addr, "addr", "127.0.0.1:4600", "server to play against")
	run := flags.String("run", "", "only scenarios whose name matches this regular `expression`")
	flags.StringVar(&s.transport, "transport", "all", "websocket, longpoll or all")
	flags.BoolVar(&s.better, "better", false, "require the answers that are better than Phoenix's")
	flags.BoolVar(&s.verbose, "v", false, "print what the clients do and see")
	flags.DurationVar(&s.patience, "patience", 8*time.Second, "how long to wait for an observation")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	var err error
	if s.run, err = regexp.Compile(*run); err != nil {
		return s, fmt.Errorf("-run: %w", err)
	}
	switch s.transport {
	case "websocket", "longpoll", "all":
	default:
		return s, fmt.Errorf("-transport: %q is not websocket, longpoll or all", s.transport)
	}
	if flags.NArg() != 1 && !s.better {
		return s, errors.New("want one argument, the folder of recordings")
	}
	s.dir = flags.Arg(0)
	return s, nil
}

// replay plays the selected scenarios and counts failures. It plays one after the other,
// because they share topics.
func replay(ctx context.Context, s settings, out io.Writer) (failed int, err error) {
	scenarios, err := load(s)
	if err != nil {
		return 0, err
	}
	played := 0
	for _, scenario := range scenarios {
		if !s.selects(scenario) {
			continue
		}
		played++
		if !playOne(ctx, s, scenario, out) {
			failed++
		}
		if ctx.Err() != nil {
			return failed, ctx.Err()
		}
	}
	if played == 0 {
		return 0, errors.New("no scenario is selected")
	}
	fmt.Fprintf(out, "%d of %d scenarios passed\n", played-failed, played)
	return failed, nil
}

func load(s settings) ([]conformance.Scenario, error) {
	if s.better {
		return conformance.Better()
	}
	return conformance.Load(s.dir)
}

func (s settings) selects(scenario conformance.Scenario) bool {
	return s.run.MatchString(scenario.Name) && (s.transport == "all" || s.transport == scenario.Transport)
}

// playOne plays a scenario and prints the verdict.
func playOne(ctx context.Context, s settings, scenario conformance.Scenario, out io.Writer) bool {
	options := conformance.Options{Patience: s.patience}
	if s.verbose {
		options.Trace = func(line string) { fmt.Fprintln(out, "    ", line) }
	}
	started := time.Now()
	way, err := conformance.Judge(ctx, s.addr, scenario, options)
	took := time.Since(started).Round(10 * time.Millisecond)
	if err != nil {
		fmt.Fprintf(out, "FAIL  %s  %v\n      (%s)\n      %s\n", scenario.Name, took, scenario.About, strings.ReplaceAll(err.Error(), "\n", "\n      "))
		return false
	}
	fmt.Fprintf(out, "ok    %s  (%s)  %v\n", scenario.Name, way, took)
	return true
}
