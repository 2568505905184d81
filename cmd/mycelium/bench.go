package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/mycelium-rt/mycelium/internal/bench"
	"github.com/mycelium-rt/mycelium/internal/logging"
)

// benchmark puts a server under load and prints what that cost. On a terminal
// it prints its progress every second.
func benchmark(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := bench.Parse(args)
	if errors.Is(err, bench.ErrHelp) {
		fmt.Fprint(stdout, bench.Help(args))
		return 0
	}
	if err != nil {
		fmt.Fprintln(stderr, "mycelium bench:", err)
		return 2
	}
	var progress io.Writer
	if file, isFile := stderr.(*os.File); isFile && logging.IsTerminal(file) {
		progress = stderr
	}
	report, err := bench.Run(ctx, o, progress, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "mycelium bench:", err)
		if o.JSON {
			_ = bench.Failed(o, err).WriteJSON(stdout) // if nobody reads it, the exit code says so
		}
		return 1
	}
	write := report.WriteText
	if o.JSON {
		write = report.WriteJSON
	}
	if err := write(stdout); err != nil || !report.OK {
		return 1
	}
	return 0
}
