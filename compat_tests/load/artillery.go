//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// artillery runs Artillery. Its scenarios are artillery/NAME.yml, whose variables are
// overridden.
type artillery struct{}

func (artillery) prepare(ctx context.Context) (string, error) {
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", fmt.Errorf("%w: install Node 20 or later", err)
		}
	}
	dir := folder("artillery")
	if !installed(dir) {
		install := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund")
		install.Dir = dir
		if out, err := install.CombinedOutput(); err != nil {
			return "", fmt.Errorf("npm ci: %w\n%s", err, out)
		}
	}
	version := func(name string) (string, error) {
		text, err := os.ReadFile(filepath.Join(dir, "node_modules", name, "package.json"))
		var p struct{ Version string }
		return p.Version, errors.Join(err, json.Unmarshal(text, &p))
	}
	node, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("node --version: %w", err)
	}
	own, err := version("artillery")
	if err != nil {
		return "", err
	}
	phoenix, err := version("phoenix")
	return fmt.Sprintf("Artillery %s, phoenix %s, Node %s", own, phoenix, strings.TrimPrefix(strings.TrimSpace(string(node)), "v")), err
}

// installed reports whether npm has installed what a folder's package-lock.json names.
func installed(dir string) bool {
	wanted, err := os.Stat(filepath.Join(dir, "package-lock.json"))
	there, missing := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json"))
	return err == nil && missing == nil && !there.ModTime().Before(wanted.ModTime())
}

// run runs Artillery without its telemetry.
func (artillery) run(ctx context.Context, w *watch, dir string, p plan, r *result) error {
	overrides, err := json.Marshal(overridesOf(p, w.srv.key))
	if err != nil {
		return err
	}
	report := filepath.Join(dir, "report.json")
	cmd := exec.Command("node", "node_modules/artillery/bin/run", "run", r.Scenario+".yml",
		"--target", "http://"+w.srv.addr, "--overrides", string(overrides), "--output", report)
	cmd.Dir = folder("artillery")
	cmd.Env = append(os.Environ(), "ARTILLERY_DISABLE_TELEMETRY=true")
	if err := w.follow(ctx, cmd, filepath.Join(dir, "artillery.out")); err != nil {
		return err
	}
	return readArtillery(report, w.started, r)
}

// overridesOf returns what overrides a scenario's config.
func overridesOf(p plan, key string) any {
	all := map[string]any{"key": key}
	for name, v := range variables(p) {
		all[name] = v
	}
	phases := []map[string]int{{"duration": p.Arrival, "arrivalCount": p.Users}}
	return map[string]any{"config": map[string]any{"phases": phases, "variables": all}}
}

// artilleryReport is part of the file that artillery run --output writes.
type artilleryReport struct {
	Aggregate    artilleryPeriod
	Intermediate []artilleryPeriod // of ten seconds each
}

type artilleryPeriod struct {
	Period    json.Number // Unix time of its start in ms; a string in some parts of the report
	Counters  map[string]float64
	Summaries map[string]struct {
		Count              float64
		P50, P90, P99, Max float64
	}
}

// readArtillery reads Artillery's report.
func readArtillery(name string, started time.Time, r *result) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	var report artilleryReport
	if err := json.Unmarshal(text, &report); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	count := func(name string) int64 { return int64(report.Aggregate.Counters[name]) }
	r.Arrived, r.Finished = count("vusers.created"), count("vusers.completed")
	r.Answered, r.ToolRead = count("phoenix.said"), count("phoenix.messages")
	for name, v := range report.Aggregate.Counters {
		code, isCode := strings.CutPrefix(name, "http.codes.")
		if v != 0 && (strings.HasPrefix(name, "errors.") || isCode && code >= "300" || name == "vusers.failed" || name == "vusers.skipped" || name == "phoenix.gaps") {
			r.Errors[name] = int64(v)
		}
	}
	for _, what := range []string{"connect", "join", "reply", "delivery", "back"} {
		if s, found := report.Aggregate.Summaries["phoenix."+what+"_ms"]; found {
			r.Latencies = append(r.Latencies, latency{what, int64(s.Count), s.P50, s.P90, s.P99, s.Max})
		}
	}
	if l := r.latencyOf("delivery"); l != nil {
		r.Delivered = l.Count
	}
	return r.addPeriods(name, started, report.Intermediate)
}

// addPeriods adds the latencies over time.
func (r *result) addPeriods(name string, started time.Time, periods []artilleryPeriod) error {
	for _, p := range periods {
		at, err := p.Period.Int64()
		if err != nil {
			return fmt.Errorf("%s: period %q", name, p.Period)
		}
		// A point stands in the middle of its ten seconds.
		m := moment{at: float64(at-started.UnixMilli())/1000 + 5, values: map[string]float64{}}
		for _, what := range []string{"delivery", "reply", "join"} {
			s, found := p.Summaries["phoenix."+what+"_ms"]
			if found && (what != "join" || r.latencyOf("reply") == nil) { // four curves are enough
				m.values[what+" p50"], m.values[what+" p99"] = s.P50, s.P99
			}
		}
		r.series = append(r.series, m)
	}
	return nil
}
