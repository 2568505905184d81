//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mycelium-rt/mycelium/internal/addrtest"
)

// tsung runs Tsung. Its scenarios are tsung/NAME.xml, with the variables as entities.
type tsung struct{}

func (tsung) prepare(ctx context.Context) (string, error) {
	for _, program := range []string{"tsung", "erl"} {
		if _, err := exec.LookPath(program); err != nil {
			return "", fmt.Errorf("%w: apt-get install tsung", err)
		}
	}
	version, err := exec.CommandContext(ctx, "tsung", "-v").Output()
	if err != nil {
		return "", fmt.Errorf("tsung -v: %w", err)
	}
	otp, err := exec.CommandContext(ctx, "erl", "-noinput", "-boot", "start_clean", "-eval", `io:format("~s", [erlang:system_info(otp_release)]), halt().`).Output()
	if err != nil {
		return "", fmt.Errorf("erl: %w", err)
	}
	return fmt.Sprintf("Tsung %s, Erlang/OTP %s", strings.TrimPrefix(strings.TrimSpace(string(version)), "Tsung version "), otp), nil
}

// run runs Tsung without its own pages, with an epmd of its own, and on loopback only.
func (tsung) run(ctx context.Context, w *watch, dir string, p plan, r *result) error {
	text, err := os.ReadFile(filepath.Join(folder("tsung"), r.Scenario+".xml"))
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "scenario.xml")
	text, err = withEntities(text, entities(w.srv, p))
	if err != nil {
		return fmt.Errorf("%s.xml: %w", r.Scenario, err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	port, end, err := startEpmd(ctx)
	if err != nil {
		return err
	}
	defer end()
	cmd := exec.Command("tsung", "-I", "127.0.0.1", "-n", "-f", file, "-l", filepath.Join(dir, "log"), "start")
	cmd.Env = append(os.Environ(), "HOME="+dir, "ERL_EPMD_PORT="+port, "ERL_EPMD_ADDRESS=127.0.0.1",
		"ERL_FLAGS=-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false -tsung_controller dumpstats_interval 1000")
	if err := w.follow(ctx, cmd, filepath.Join(dir, "tsung.out")); err != nil {
		return err
	}
	logs, err := filepath.Glob(filepath.Join(dir, "log", "*", "tsung.log"))
	if err != nil || len(logs) != 1 {
		return fmt.Errorf("Tsung wrote %d logs, want 1; see %s", len(logs), dir) //nolint:staticcheck // a name
	}
	return readTsung(filepath.Dir(logs[0]), w.started, r)
}

// startEpmd starts epmd, the daemon by which Erlang nodes find each other, on a free port. end
// stops it.
func startEpmd(ctx context.Context) (port string, end func(), err error) {
	addr, err := addrtest.Find()
	if err != nil {
		return "", nil, err
	}
	port = addr[strings.LastIndexByte(addr, ':')+1:]
	epmd, err := exec.LookPath("epmd")
	if err != nil {
		return "", nil, err
	}
	cmd := exec.Command(epmd, "-address", "127.0.0.1", "-port", port)
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	end = func() {
		_ = cmd.Process.Kill() // it runs until killed
		_ = cmd.Wait()
	}
	if err := listening(ctx, addr); err != nil {
		end()
		return "", nil, fmt.Errorf("epmd: %w", err)
	}
	return port, end, nil
}

// entities returns the entities of a scenario's file.
func entities(srv *server, p plan) map[string]string {
	all := map[string]string{"host": "127.0.0.1", "port": srv.port(), "key": srv.key}
	for name, v := range variables(p) {
		all[name] = strconv.Itoa(v)
	}
	return all
}

// variables returns the plan by the names that the files use.
func variables(p plan) map[string]int {
	all := map[string]int{}
	v := reflect.ValueOf(p)
	for i := range v.NumField() {
		all[strings.ToLower(v.Type().Field(i).Name)] = int(v.Field(i).Int())
	}
	return all
}

var entity = regexp.MustCompile(`<!ENTITY\s+(\w+)\s+"([^"]*)">`)

// withEntities gives the entities of a file their values.
func withEntities(text []byte, values map[string]string) ([]byte, error) {
	var err error
	text = entity.ReplaceAllFunc(text, func(declaration []byte) []byte {
		name := string(entity.FindSubmatch(declaration)[1])
		v, known := values[name]
		if !known {
			err = errors.Join(err, fmt.Errorf("unknown entity %q", name))
		}
		return fmt.Appendf(nil, "<!ENTITY %s %q>", name, v)
	})
	return text, err
}

// readTsung reads the statistics in a folder of Tsung's logs.
func readTsung(dir string, started time.Time, r *result) error {
	dumps, err := parseStats(filepath.Join(dir, "tsung.log"))
	if err != nil {
		return err
	}
	samples, err := parseSamples(filepath.Join(dir, "tsung-fullstats.log"))
	if err != nil {
		return err
	}
	last := dumps[len(dumps)-1]
	r.Arrived, r.Finished = int64(last.totals["users_count"]), int64(last.totals["finish_users_count"])
	r.ToolRead = int64(last.totals["size_rcv"])
	for name, total := range last.totals {
		if total != 0 && isError(name) {
			r.Errors[name] += int64(total)
		}
	}
	for _, t := range []struct{ name, what string }{{"tr_connect", "connect"}, {"tr_join", "join"}, {"tr_push", "reply"}, {"tr_heartbeat", "heartbeat"}, {"tr_poll", "poll"}} {
		if ms := samples[t.name]; len(ms) > 0 {
			r.Latencies = append(r.Latencies, distribution(t.what, ms))
		}
	}
	r.Answered = int64(len(samples["tr_push"]))
	for _, d := range dumps {
		m := moment{at: d.at - float64(started.UnixMilli())/1000, values: map[string]float64{}}
		for name, mean := range d.means {
			if what, found := strings.CutPrefix(name, "tr_"); found {
				m.values[what+", mean"] = mean
			}
		}
		r.series = append(r.series, m)
	}
	return nil
}

// isError reports whether a counter of Tsung should be 0.
func isError(name string) bool {
	if code, err := strconv.Atoi(name); err == nil {
		return code >= 300 // of HTTP
	}
	for _, prefix := range []string{"error", "websocket_fail", "nomatch", "abort", "reconnect", "timeout", "max_re", "match_stop"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// dump is what Tsung wrote at one time: totals since the start, and means since the dump
// before, in milliseconds.
type dump struct {
	at            float64 // Unix time
	totals, means map[string]float64
}

// parseStats parses tsung.log: docs/reports.rst of Tsung, "File format", and its
// ts_stats_mon.erl.
func parseStats(name string) ([]dump, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var dumps []dump
	ended := false
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case strings.HasPrefix(lines.Text(), "# stats: dump at "):
			at, err := strconv.ParseFloat(fields[len(fields)-1], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: %q", name, lines.Text())
			}
			dumps = append(dumps, dump{at, map[string]float64{}, map[string]float64{}})
		case len(fields) > 3 && fields[0] == "stats:" && len(dumps) > 0 && !strings.HasPrefix(fields[1], "{"):
			dumps[len(dumps)-1].addLine(fields[1], fields[2:])
		case strings.HasPrefix(lines.Text(), "EndMonitor"):
			ended = true
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if !ended || len(dumps) == 0 {
		return nil, fmt.Errorf("%s is incomplete: Tsung was interrupted", name)
	}
	return dumps, nil
}

// addLine adds a line of tsung.log. A counter has its growth and its total; a sample has
// count, mean, standard deviation, maximum, minimum, and the mean and count of all before.
func (d *dump) addLine(name string, fields []string) {
	number := func(i int) float64 {
		v, _ := strconv.ParseFloat(fields[i], 64) // Tsung writes numbers
		return v
	}
	if len(fields) == 2 {
		d.totals[name] = number(1)
		return
	}
	if len(fields) == 7 && number(0) > 0 {
		d.means[name] = number(1)
	}
}

// single matches {sample,NAME,1.5} in tsung-fullstats.log, where Tsung writes each value that
// it measures, in milliseconds, with backend="fullstats".
var single = regexp.MustCompile(`\{sample,(\w+),([0-9.e+-]+)\}`)

// parseSamples parses tsung-fullstats.log.
func parseSamples(name string) (map[string][]float64, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	all := map[string][]float64{}
	for _, m := range single.FindAllSubmatch(text, -1) {
		v, err := strconv.ParseFloat(string(m[2]), 64)
		if err != nil {
			return nil, fmt.Errorf("%s: %q", name, m[0])
		}
		all[string(m[1])] = append(all[string(m[1])], v)
	}
	return all, nil
}
