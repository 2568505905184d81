//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/mycelium-rt/mycelium/internal/bench"
)

// byBench runs a scenario by mycelium bench.
type byBench struct{ scenario *scenario }

func (byBench) prepare(context.Context) (string, error) { return "", nil }

func (b byBench) run(ctx context.Context, w *watch, dir string, p plan, r *result) error {
	if b.scenario.name == "instances" {
		for i := range p.Rooms {
			if err := w.srv.create(ctx, instanceName(i)); err != nil {
				return err
			}
		}
	}
	args := append([]string{"bench"}, b.scenario.bench(p, "ws://"+w.srv.addr+"/socket")...)
	args = append(args, "--json", "--pid="+strconv.Itoa(w.srv.cmd.Process.Pid))
	cmd := exec.Command(w.srv.cmd.Path, args...)
	cmd.Env = environment(dir)
	file := filepath.Join(dir, "report.json")
	runErr := w.follow(ctx, cmd, file)
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var report bench.Report
	if err := json.Unmarshal(text, &report); err != nil {
		return fmt.Errorf("mycelium %v: %w\n%s", args, err, text)
	}
	r.takeBench(&report)
	if !report.OK {
		return nil // the problems say why
	}
	return runErr
}

// takeBench takes the report of mycelium bench.
func (r *result) takeBench(report *bench.Report) {
	r.Users = int(report.Open.Joined + report.Open.Failed)
	r.Arrived, r.Finished = report.Open.Joined, report.Open.Joined
	r.Problems = append(r.Problems, report.Problems...)
	add := func(what string, l *bench.Latency) {
		if l != nil {
			r.Latencies = append(r.Latencies, latency{what, l.Count, rounded(l.P50 / 1000), rounded(l.P90 / 1000), rounded(l.P99 / 1000), rounded(l.Max / 1000)})
		}
	}
	add("connect", report.Open.Connect)
	add("join", report.Open.Join)
	if run := report.Run; run != nil {
		add("delivery", run.Latency)
		r.Answered, r.Delivered = run.Sent, run.Delivered
	}
}
