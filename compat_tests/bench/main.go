// Bench measures the figures that mycelium commits to, and prints them in a table: the
// costs of a server process as ratios to the C program in yardstick, measured in turns in
// one run, and internal figures of Go benchmarks and tests.
//
//	go run ./compat_tests/bench          # make bench: four minutes
//	go run ./compat_tests/bench -quick   # make bench-quick: a minute, less accurate
//	go run ./compat_tests/bench -only echo -turns 8
//	go run ./compat_tests/bench -plots docs/performance   # make bench-plots
//
// It needs Linux, a C compiler and an otherwise idle machine. It prints a warning if the
// machine is not idle.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"syscall"
	"time"

	"github.com/mycelium-rt/mycelium/internal/bench"
)

func main() {
	bench.Worker()
	quick := flag.Bool("quick", false, "fewer turns and connections: about a minute")
	turns := flag.Int("turns", 4, "how often each server is measured; 1 with -quick")
	page := flag.String("write", "", "also write the table into this `file`, between its marks")
	strict := flag.Bool("strict", false, "exit with 1 when a figure is over its limit")
	plotDir := flag.String("plots", "", "measure how costs grow instead, and write the diagrams to this `folder`; arguments select some of them")
	profile := flag.String("profile", "", "instead, write a CPU profile of a saturated fan-out of labapp to this `file`")
	spread := flag.Bool("spread", false, "let the system choose processors for server and load; otherwise each has one")
	raw := flag.String("raw", "", "write the report of each run to this `file`, one JSON object a line")
	only := regexp.MustCompile("")
	flag.TextVar(only, "only", only, "measure only the figures of servers whose name this `regexp` matches, and no Go benchmarks")
	flag.Parse()
	if *quick {
		*turns = 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var over bool
	var err error
	switch {
	case *plotDir != "":
		err = drawPlots(ctx, *plotDir, flag.Args())
	case *profile != "":
		err = profileFanout(ctx, *profile)
	default:
		over, err = run(ctx, settings{quick: *quick, turns: *turns, page: *page, raw: *raw, spread: *spread, only: only})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if over && *strict {
		os.Exit(1)
	}
}

// settings are the settings of the command line.
type settings struct {
	quick bool
	turns int
	page  string
	raw   string
	// spread lets the system choose processors for server and load.
	spread bool
	only   *regexp.Regexp // of the names of figures
}

// complete reports whether all figures are measured.
func (s settings) complete() bool { return s.only.String() == "" }

// placement returns a note about where server and load ran.
func (s settings) placement() string {
	if _, _, ok := processors(); s.spread || !ok {
		return ""
	}
	return " (one for the server, one for the load)"
}

// run measures everything and prints the table. It reports whether a figure is over its
// limit.
func run(ctx context.Context, s settings) (over bool, err error) {
	if s.page != "" && !s.complete() {
		return false, errors.New("-write is for the whole table: leave out -only")
	}
	begun := time.Now()
	busyBefore := othersBusy()
	set, err := buildServers(ctx, s.spread)
	if err != nil {
		return false, err
	}
	defer set.close()
	turns, err := confined(s.spread, func() ([]*costs, error) { return measureTurns(ctx, set, s) })
	if err != nil {
		return false, err
	}
	rows := turnRows(turns)
	set.close()
	if s.complete() {
		inside, err := insideRows(ctx)
		if err != nil {
			return false, err
		}
		rows = append(rows, inside...)
	}
	t := table{
		rows: rows, turns: s.turns, took: time.Since(begun),
		machine: fmt.Sprintf("%d cores%s, %s, %s, %s", runtime.NumCPU(), s.placement(), processor(), runtime.Version(), begun.Format(time.DateOnly)),
		busy:    max(busyBefore, othersBusy()),
	}
	t.write(os.Stdout)
	if s.page != "" {
		err = t.writePage(s.page)
	}
	return t.over(), err
}

// confined runs measure with the load on a processor of its own.
func confined(spread bool, measure func() ([]*costs, error)) ([]*costs, error) {
	_, cpu, ok := processors()
	if spread || !ok {
		return measure()
	}
	release, err := confine(cpu)
	if err != nil {
		return nil, err
	}
	defer release()
	return measure()
}
