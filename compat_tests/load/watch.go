//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// sample is a measurement. Rates and CPU are those since the sample before.
type sample struct {
	at                  float64 // seconds since the tool was started
	users               float64 // sockets of the server
	in, out             float64 // messages from and to clients, a second
	server, tool, other float64 // cores used
	serverRSS, toolRSS  float64 // bytes
}

// watch samples the server and the tool every second.
type watch struct {
	srv     *server
	started time.Time
	first   counters // of the server before the tool ran

	mu      sync.Mutex
	session int // of the tool: see setsid(2); guarded by mu
	samples []sample
	done    chan struct{}
	stopped sync.WaitGroup
	failed  error // of reading the server's metrics; guarded by mu
}

// counters are the figures of /metrics, by name with labels, and summed over the labels by
// name.
type counters map[string]float64

func newWatch(srv *server) *watch { return &watch{srv: srv, done: make(chan struct{})} }

// begin reads the counters before the run and starts to sample.
func (w *watch) begin() error {
	var err error
	if w.first, err = w.srv.counters(); err != nil {
		return err
	}
	w.started = time.Now()
	w.stopped.Go(w.sampleEverySecond)
	return nil
}

// follow runs a tool's program to its end. The program gets a session of its own, so that the
// CPU time of all its processes can be told. Its output goes to the file log.
func (w *watch) follow(ctx context.Context, cmd *exec.Cmd, log string) error {
	file, err := os.Create(log)
	if err != nil {
		return err
	}
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	w.mu.Lock()
	w.session = cmd.Process.Pid
	w.mu.Unlock()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-ctx.Done():
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		case <-ended:
		}
	}()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w; see %s", cmd.Args[0], err, log)
	}
	return ctx.Err()
}

// reading holds totals, from which samples are computed.
type reading struct {
	at                   time.Time
	in, out              float64
	server, tool, busy   float64 // CPU time, in seconds
	users, rssS, rssTool float64
}

func (w *watch) sampleEverySecond() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last, err := w.read()
	for err == nil {
		select {
		case <-w.done:
			return
		case <-tick.C:
		}
		var now reading
		if now, err = w.read(); err == nil {
			w.samples = append(w.samples, now.since(last, w.started))
			last = now
		}
	}
	w.mu.Lock()
	w.failed = err
	w.mu.Unlock()
}

// since returns the sample between two readings.
func (r reading) since(before reading, start time.Time) sample {
	d := r.at.Sub(before.at).Seconds()
	s := sample{
		at: r.at.Sub(start).Seconds(), users: r.users,
		in: (r.in - before.in) / d, out: (r.out - before.out) / d,
		server: (r.server - before.server) / d, tool: max(0, r.tool-before.tool) / d,
		serverRSS: r.rssS, toolRSS: r.rssTool,
	}
	s.other = max(0, (r.busy-before.busy)/d-s.server-s.tool)
	return s
}

func (w *watch) read() (reading, error) {
	c, err := w.srv.counters()
	if err != nil {
		return reading{}, err
	}
	w.mu.Lock()
	session := w.session
	w.mu.Unlock()
	r := reading{at: time.Now(), in: c["mycelium_messages_received_total"], out: c["mycelium_messages_sent_total"], users: c["mycelium_sockets"], busy: busyTime()}
	own := usageOf(func(p process) bool { return p.pid == w.srv.cmd.Process.Pid })
	r.server, r.rssS = own.cpu, own.rss
	if session != 0 {
		theirs := usageOf(func(p process) bool { return p.session == session })
		r.tool, r.rssTool = theirs.cpu, theirs.rss
	}
	return r, nil
}

// end stops sampling and adds the measurements to the result.
func (w *watch) end(r *result) error {
	close(w.done)
	w.stopped.Wait()
	if w.failed != nil {
		return fmt.Errorf("watching the server: %w", w.failed)
	}
	// The last users may have disconnected a moment ago.
	last, err := w.srv.counters()
	for deadline := time.Now().Add(10 * time.Second); err == nil && last["mycelium_sockets"] > 0 && r.Scenario != "polls" && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
		last, err = w.srv.counters()
	}
	if err != nil {
		return err
	}
	for name, v := range w.first {
		last[name] -= v
	}
	r.takeServer(last)
	r.takeSamples(w.samples)
	return nil
}

// counters reads the server's metrics.
func (s *server) counters() (counters, error) {
	request, err := http.NewRequest(http.MethodGet, "http://"+s.metrics+"/metrics", http.NoBody) //nolint:noctx // client has a timeout
	if err != nil {
		return nil, err
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("/metrics: %s", answer.Status)
	}
	c := counters{}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		name, text, found := strings.Cut(lines.Text(), " ")
		if !found || name == "#" {
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("/metrics: %q", lines.Text())
		}
		c[name] = v
		if family, _, labelled := strings.Cut(name, "{"); labelled {
			c[family] += v
		}
	}
	return c, lines.Err()
}
