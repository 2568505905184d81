package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/mycelium-rt/mycelium/internal/config"
	"github.com/mycelium-rt/mycelium/internal/doctor"
)

const doctorUsage = `mycelium doctor checks what limits the number of connections of a server on this
machine. For each limit it prints how many connections it allows, and how to raise
it if it is too small. With a configuration file it also checks the rules of the history
against its memory. With the options of a cluster, as flags or in a file, it checks
whether the other nodes or the NATS servers can be reached. The exit code is 1 if a
limit is too small or a check fails.

Usage:

  mycelium doctor [flags]

Examples:

  mycelium doctor --connections 100000
  mycelium doctor --pid "$(pidof mycelium)"     the limits of a running server
  mycelium doctor --config mycelium.yaml        also the history and the cluster of a configuration
  mycelium doctor --json | jq '.checks[] | select(.status != "ok")'

"mycelium serve --help" lists the options that begin with cluster.

Flags:

`

// maxDoctorConnections is more than any server has ever had.
const maxDoctorConnections = 1_000_000_000

// examine checks whether this machine can run a server with many connections.
func examine(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	args, options := splitClusterFlags(args)
	flags := pflag.NewFlagSet("doctor", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	connections := flags.Int64("connections", 10_000, "`number` of connections to plan for")
	pid := flags.Int("pid", 0, "`process` whose limits and cgroups to examine; 0: mycelium doctor itself")
	asJSON := flags.Bool("json", false, "print JSON")
	err := flags.Parse(args)
	var bad *pflag.InvalidValueError
	switch {
	case errors.Is(err, pflag.ErrHelp):
		fmt.Fprint(stdout, doctorUsage, flags.FlagUsagesWrapped(80))
		return 0
	case errors.As(err, &bad):
		err = fmt.Errorf("--%s is %q; it takes a whole number", bad.GetFlag().Name, bad.GetValue())
	case err != nil:
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q; mycelium doctor takes only flags", flags.Arg(0))
	case *connections < 1 || *connections > maxDoctorConnections:
		err = fmt.Errorf("--connections is %d; it takes a number from 1 to %d", *connections, maxDoctorConnections)
	case *pid < 0:
		err = fmt.Errorf("--pid is %d; it takes the id of a running process", *pid)
	}
	if err != nil {
		return misused(stderr, "doctor", err)
	}
	cfg, code := loadConfig(options, clusterVariables(environ), doctorUsage, stdout, stderr)
	if cfg == nil {
		return code
	}
	return report(ctx, cfg, *connections, *pid, *asJSON, stdout, stderr)
}

// report prints the doctor's findings and returns the exit code.
func report(ctx context.Context, cfg *config.Config, connections int64, pid int, asJSON bool, stdout, stderr io.Writer) int {
	m := doctor.Machine{FS: os.DirFS("/"), Process: "self", Threads: doctor.Threads(), PageSize: int64(os.Getpagesize())}
	if pid > 0 {
		m.Process = strconv.Itoa(pid)
	}
	r, err := doctor.Examine(m, connections)
	if err != nil {
		fmt.Fprintln(stderr, "mycelium doctor:", err)
		return 2
	}
	r.ExamineHistory(m, recordedBy(cfg))
	examineCluster(ctx, cfg, &r)
	examineDurable(cfg, &r)
	if asJSON {
		out := json.NewEncoder(stdout)
		out.SetIndent("", "  ")
		out.SetEscapeHTML(false)
		err = out.Encode(r)
	} else {
		err = r.WriteText(stdout)
	}
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "mycelium doctor:", err)
		return 2
	case !r.OK:
		return 1
	}
	return 0
}
