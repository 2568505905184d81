package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// WriteJSON writes the report as one line.
func (r *Report) WriteJSON(w io.Writer) error { return json.NewEncoder(w).Encode(r) }

// WriteText writes the report as text for people.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "  %-12s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(&b, "%s of %d connections on %s at %s\n\n", r.Mode, r.Connections, counted(int64(r.Topics), "topic"), strings.Join(r.URLs, " "))
	line("joined", "%d in %s, %.0f a second%s", r.Open.Joined, seconds(r.Open.Seconds), r.Open.PerSecond, failed(r.Open.Failed))
	if r.Open.Connect != nil {
		line("  connect", "%s", r.Open.Connect)
	}
	if r.Open.Join != nil {
		line("  join", "%s", r.Open.Join)
	}
	r.Run.write(r.Mode, line)
	if p := r.Presence; p != nil {
		line("presence", "%s of %s and %s of %s, the last after %s", counted(p.States, "list"), size(p.StateBytes),
			counted(p.Diffs, "diff"), size(p.DiffBytes), seconds(p.Quiet))
		if p.Witnesses > 0 {
			line("", "%d of %d checked connections see every presence", p.Witnesses-p.Mistaken, p.Witnesses)
		}
	}
	if s := r.Server; s != nil {
		s.write(r.Mode, line)
	}
	line("generator", "%s, the busiest at %.0f %% of a core", counted(int64(r.Load.Processes), "process"), r.Load.Busiest)
	r.writeTrouble(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

func (run *RunReport) write(mode Mode, line func(name, format string, args ...any)) {
	if run == nil {
		return
	}
	switch mode {
	case Idle:
		line("held", "%s, %s sent and %d answered", seconds(run.Seconds), counted(run.Heartbeats, "heartbeat"), run.HeartbeatsAnswered)
		return
	case Broadcast:
		line("published", "%d in %s (%s)", run.Sent, seconds(run.Seconds), run.loop())
		line("delivered", "%d of %d, %.0f a second, %s/s%s", run.Delivered, run.Expected, run.PerSecond, size(int64(run.BytesPerSec)), run.faults())
	case Echo:
		line("answered", "%d of %d in %s, %.0f a second (%s)%s", run.Delivered, run.Expected, seconds(run.Seconds), run.PerSecond, run.loop(), run.faults())
	}
	if run.Latency != nil {
		line("  latency", "%s", run.Latency)
		line("", "counted from %s", run.LatencyFrom)
	}
	if run.Lag != nil {
		line("  lag", "%s", run.Lag)
		line("", "how late the generator sent; the latency includes it")
	}
}

func (run *RunReport) loop() string {
	switch {
	case run.Loop == "open":
		return fmt.Sprintf("open loop, %g a second", run.Rate)
	case run.Depth > 0:
		return fmt.Sprintf("closed loop, %d a connection", run.Depth)
	}
	return fmt.Sprintf("closed loop, %d at a time", run.Window)
}

func (run *RunReport) faults() string {
	switch whole := run.Lost == 0 && run.Late == 0 && run.Twice == 0 && run.Stray == 0; {
	case whole && run.Delivered < run.Expected:
		return "; the rest were outstanding, all in order"
	case whole:
		return "; none lost, all in order"
	}
	return fmt.Sprintf("; %d LOST, %d out of order, %d twice, %d strays", run.Lost, run.Late, run.Twice, run.Stray)
}

func (s *ServerReport) write(mode Mode, line func(name, format string, args ...any)) {
	line("server", "%.1f µs of CPU for each connect and join", s.CPUPerJoin)
	if s.Unit != "" {
		line("", "%.2f µs of CPU for each %s; %.0f %% of a core, of that %.0f %% in the system", s.CPUPerUnit, s.Unit, s.CPUPercent,
			100*s.SysSeconds/max(s.UserSeconds+s.SysSeconds, 1e-9))
	} else if mode == Idle {
		line("", "%.3g %% of a core while they were held", s.CPUPercent)
	}
	each := fmt.Sprintf("%.0f bytes for each connection", s.RSSPerConn)
	if s.RSSPerConn < 0 {
		each = "less than before they joined"
	}
	line("", "%s resident, %s; at the end %s; %d threads", size(s.RSSJoined), each, size(s.RSSEnd), s.Threads)
}

func (r *Report) writeTrouble(b *strings.Builder) {
	for _, w := range r.Warnings {
		fmt.Fprintf(b, "\nwarning: %s\n", w)
	}
	for _, text := range slices.Sorted(maps.Keys(r.Errors)) {
		fmt.Fprintf(b, "\nerror: %s (%d times)\n", text, r.Errors[text])
	}
	for _, p := range r.Problems {
		fmt.Fprintf(b, "\nproblem: %s\n", p)
	}
}

// String is one line: p50 1.2 ms, p90 …
func (l *Latency) String() string {
	us := func(v float64) time.Duration { return time.Duration(v * 1e3) }
	return fmt.Sprintf("p50 %s  p90 %s  p99 %s  p99.9 %s  max %s", short(us(l.P50)), short(us(l.P90)), short(us(l.P99)), short(us(l.P999)), short(us(l.Max)))
}

// short formats a duration with about three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f µs", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	}
	return seconds(d.Seconds())
}

func seconds(s float64) string {
	if s < 10 {
		return fmt.Sprintf("%.2f s", s)
	}
	return fmt.Sprintf("%.1f s", s)
}

func size(bytes int64) string {
	switch {
	case bytes < 10_000:
		return fmt.Sprintf("%d bytes", bytes)
	case bytes < 10_000_000:
		return fmt.Sprintf("%.1f kB", float64(bytes)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
}

func counted(n int64, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "s"):
		return fmt.Sprintf("%d %ses", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func failed(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %d FAILED", n)
}
