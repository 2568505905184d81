//go:build linux

// Load runs the load tests of docs/load-tests.md: the scenarios of Tsung or Artillery in
// the folders beside it, and the same loads with mycelium bench, each against a new server.
// It reads what the tool measured, checks that nothing failed or was lost, draws diagrams,
// and writes the results into the document.
//
//	go run ./compat_tests/load tsung        # make load-tsung
//	go run ./compat_tests/load artillery    # make load-artillery
//	go run ./compat_tests/load -only rooms,day -users 2000 -seconds 60 -page "" tsung
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	var s settings
	flag.IntVar(&s.users, "users", 1000, "users of a scenario; some have a fifth of them. Rounded up to a multiple of 100")
	flag.IntVar(&s.seconds, "seconds", 20, "how long the users of a scenario chat, and a quarter of a day")
	flag.StringVar(&s.only, "only", "", "`scenarios` to run, separated by commas; all by default")
	flag.StringVar(&s.server, "server", "bin/mycelium", "the server's `program`")
	flag.StringVar(&s.raw, "raw", "bin/load", "`folder` for the files of the tools and the logs of the servers")
	flag.StringVar(&s.page, "page", "docs/load-tests.md", "`document` to write the results into, with diagrams in a folder beside it; empty for none")
	flag.BoolVar(&s.alone, "alone", false, "do not run mycelium bench after each scenario")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// settings are the settings of the command line.
type settings struct {
	users, seconds          int
	only, server, raw, page string
	alone                   bool
}

// tool runs a scenario.
type tool interface {
	// prepare checks that the tool is installed, and returns its version.
	prepare(ctx context.Context) (version string, err error)
	// run runs a scenario against the server to its end, and adds what the tool measured to
	// the result. The tool writes its files into dir, which is empty.
	run(ctx context.Context, w *watch, dir string, p plan, r *result) error
}

var tools = map[string]tool{"tsung": tsung{}, "artillery": artillery{}}

// run runs the scenarios by the tool that args names.
func (s *settings) run(ctx context.Context, args []string) error {
	if len(args) != 1 || tools[args[0]] == nil {
		return errors.New("name one tool: tsung or artillery")
	}
	chosen, err := s.chosen()
	if err != nil {
		return err
	}
	if s.page != "" && len(chosen) < len(scenarios) {
		return errors.New("the page needs all scenarios: with -only, also use -page \"\"")
	}
	m := newReport(args[0], s)
	if m.Version, err = tools[args[0]].prepare(ctx); err != nil {
		return err
	}
	for _, c := range chosen {
		p := c.plan(*s)
		r := s.measure(ctx, tools[args[0]], args[0], c, p)
		m.Results = append(m.Results, r)
		if c.bench == nil || s.alone {
			continue
		}
		m.Results = append(m.Results, s.measure(ctx, byBench{scenario: c}, "bench", c, p))
	}
	if ctx.Err() != nil {
		return errors.New("interrupted; the page is unchanged")
	}
	m.Seconds = time.Since(m.Started).Seconds()
	if s.page != "" {
		if err := m.publish(s.page); err != nil {
			return err
		}
	}
	return m.failure()
}

// chosen returns the scenarios that the settings name.
func (s *settings) chosen() ([]*scenario, error) {
	if s.only == "" {
		return scenarios, nil
	}
	var chosen []*scenario
	for name := range strings.SplitSeq(s.only, ",") {
		i := slices.IndexFunc(scenarios, func(c *scenario) bool { return c.name == name })
		if i < 0 {
			return nil, fmt.Errorf("unknown scenario %q; the scenarios are %s", name, strings.Join(names(), ", "))
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil
}

// measure runs one scenario against a new server. Errors become problems of the result.
func (s *settings) measure(ctx context.Context, t tool, name string, c *scenario, p plan) *result {
	r := &result{Tool: name, Scenario: c.name, Users: p.Users, Started: time.Now(), Load: loadAverage(), Errors: map[string]int64{}}
	fmt.Printf("%-10s %-9s ", c.name, name)
	if err := s.attend(ctx, t, p, r); err != nil {
		r.problem("%v", err)
	}
	r.judge(c, p)
	fmt.Println(r.line())
	for _, p := range r.Problems {
		fmt.Println("    " + p)
	}
	return r
}

// attend starts the server, watches it while the tool runs, and stops it.
func (s *settings) attend(ctx context.Context, t tool, p plan, r *result) error {
	dir, err := filepath.Abs(filepath.Join(s.raw, r.Tool, r.Scenario))
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	srv, err := startServer(ctx, s.server, dir)
	if err != nil {
		return err
	}
	defer srv.stop()
	w := newWatch(srv)
	if err := w.begin(); err != nil {
		return err
	}
	runErr := t.run(ctx, w, dir, p, r)
	return errors.Join(runErr, w.end(r), srv.healthy())
}
