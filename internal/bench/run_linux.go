package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Run carries out o. It writes its progress to progress, which may be nil; workers
// write the errors that end them to stderr. An error means that the run did not
// start; the report's Problems say what went wrong in a run. When ctx is done the
// run ends early, which is a problem too.
func Run(ctx context.Context, o *Options, progress, stderr io.Writer) (*Report, error) {
	var targets []target
	for _, u := range o.URLs {
		t, err := findTarget(ctx, o, u)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	p, warnings, err := preflight(o, targets)
	if err != nil {
		return nil, err
	}
	r := &run{o: o, plan: p, progress: progress, report: newReport(o)}
	r.report.Warnings = warnings
	if r.before, err = usageOf(o.PIDs); err != nil {
		return nil, fmt.Errorf("--pid: %w", err)
	}
	if r.fleet, err = startFleet(p, stderr); err != nil {
		return nil, err
	}
	defer r.fleet.close()
	err = r.open(ctx)
	if !errors.Is(err, errInterrupted) {
		err = r.runPhases(ctx)
	}
	r.stopClock()
	if err != nil {
		r.interrupted = errors.Is(err, errInterrupted)
		r.problem("%v", err)
	}
	r.finishRun()
	return r.report, nil
}

// run is a run in progress.
type run struct {
	o        *Options
	plan     *plan
	fleet    *fleet
	progress io.Writer
	report   *Report

	opened                      time.Time
	before, joined, rested, end usage     // of the server
	load, loadEnd               []usage   // of the workers
	begun, over                 time.Time // of what is measured: the run, or joining if there is no more
	receivers                   []int64   // of each topic when the run began
	bytesBefore                 int64     // received before that
	openedAt                    int64
	running                     bool // joining is over
	serverGone                  bool // a process of --pid is gone
	interrupted                 bool // what was outstanding then does not count as lost
}

func newReport(o *Options) *Report {
	r := &Report{Mode: o.Mode, URLs: o.URLs, Started: time.Now(), Cores: runtime.NumCPU(), Connections: o.Connections, Topics: o.Topics}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		r.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	return r
}

func (r *run) problem(format string, args ...any) {
	r.report.Problems = append(r.report.Problems, fmt.Sprintf(format, args...))
}

var (
	errInterrupted = errors.New("interrupted")
	errAllEnded    = errors.New("all connections have ended")
)

// ended returns why the run cannot go on, or nil.
func (r *run) ended(ctx context.Context) error {
	switch n := r.report.Open.Joined; {
	case ctx.Err() != nil:
		return errInterrupted
	case n > 0 && n == r.fleet.sum(countEnded):
		return errAllEnded
	}
	return nil
}

// tick is how often the parent looks at the counters. No measurement depends on
// it.
const tick = 2 * time.Millisecond

// await waits until done returns true. It fails when no counter has grown for as
// long as the option Patience.
func (r *run) await(ctx context.Context, what string, counters []func(*tally) *atomic.Int64, done func() bool) error {
	var before int64
	moved, told := time.Now(), time.Now()
	for !done() {
		if err := r.ended(ctx); err != nil {
			return err
		}
		time.Sleep(tick)
		var total int64
		for _, c := range counters {
			total += r.fleet.sum(c)
		}
		if now := time.Now(); total != before {
			before, moved = total, now
		} else if now.Sub(moved) > r.o.Patience {
			return fmt.Errorf("%s: no progress for %v", what, r.o.Patience)
		}
		r.printProgress(&told, what)
	}
	return nil
}

// open makes all connections join. It returns errInterrupted or nil; other errors
// become problems, and the run goes on with the connections that have joined.
func (r *run) open(ctx context.Context) error {
	f, all := r.fleet, int64(r.o.Connections+r.plan.publishers())
	r.opened, r.openedAt = time.Now(), monotonic()
	r.startClock()
	f.set(opening)
	counters := []func(*tally) *atomic.Int64{countOpened, countJoined, countFailed, countStates}
	err := r.await(ctx, "joining", counters, func() bool { return f.sum(countJoined)+f.sum(countFailed) >= all })
	seconds := time.Since(r.opened).Seconds()
	f.set(resting)
	r.joined, _ = usageOf(r.o.PIDs) // stopClock reports a server that is gone
	r.rested = r.joined
	n := f.sum(countJoined)
	r.report.Open = OpenReport{Joined: n, Failed: f.sum(countFailed), Seconds: seconds, PerSecond: float64(n) / seconds}
	if errors.Is(err, errInterrupted) {
		return err
	}
	if err != nil {
		r.problem("%v", err)
		if why := r.whyStuck(); why != "" && !errors.Is(err, errAllEnded) {
			r.problem("%s", why)
		}
	}
	if missing := all - n; missing > 0 {
		r.problem("%d of %d connections have not joined", missing, all)
	}
	return nil
}

// runPhases does what comes after joining.
func (r *run) runPhases(ctx context.Context) error {
	if r.fleet.sum(countJoined) == 0 {
		return nil
	}
	if r.o.Mode == Presence {
		if err := r.quiet(ctx); err != nil {
			return err
		}
	} else if err := r.pause(ctx, r.o.Settle, "resting"); err != nil {
		return err
	}
	r.rested, _ = usageOf(r.o.PIDs)
	for i := range r.fleet.topics {
		r.receivers = append(r.receivers, r.fleet.topics[i].receivers.Load())
	}
	if r.o.Mode == Join || r.o.Mode == Presence {
		return nil
	}
	r.running = true
	r.startClock()
	switch r.o.Mode {
	case Broadcast:
		return r.broadcast(ctx)
	case Echo:
		return r.echo(ctx)
	}
	return r.idle(ctx)
}

// startClock starts the measurement.
func (r *run) startClock() {
	r.load = usages(r.fleet.pids())
	r.begun, r.bytesBefore = time.Now(), r.fleet.sum(countBytes)
}

func (r *run) stopClock() {
	var err error
	if r.end, err = usageOf(r.o.PIDs); err != nil {
		r.end, r.serverGone = r.rested, true
		r.problem("--pid: at the end of the run, %v", err)
	}
	r.over, r.loadEnd = time.Now(), usages(r.fleet.pids())
}

// quiet waits until no more presence messages come.
func (r *run) quiet(ctx context.Context) error {
	f := r.fleet
	return r.await(ctx, "presences", []func(*tally) *atomic.Int64{countBytes}, func() bool {
		return time.Duration(monotonic()-f.newest()) > max(r.o.Settle, 100*time.Millisecond)
	})
}

func (r *run) idle(ctx context.Context) error {
	f := r.fleet
	if err := r.pause(ctx, r.o.Duration, "holding"); err != nil {
		return err
	}
	f.set(listening)
	return r.await(ctx, "waiting for the answers to heartbeats", []func(*tally) *atomic.Int64{countAnswered}, func() bool {
		// A worker that has not noticed yet may send one more.
		return int(f.board.quiet.Load()) == len(f.workers) && f.sum(countAnswered)+f.sum(countEnded) >= f.sum(countBeats)
	})
}

func (r *run) broadcast(ctx context.Context) error {
	f := r.fleet
	f.set(running)
	return r.await(ctx, "broadcasting", []func(*tally) *atomic.Int64{countDelivered, countCopies, countReplies}, func() bool {
		return f.board.finished.Load() == 1 && f.board.progress.Load() >= f.board.expected.Load()
	})
}

func (r *run) echo(ctx context.Context) error {
	f := r.fleet
	f.set(running)
	if err := r.pause(ctx, r.o.Duration, "echoing"); err != nil {
		return err
	}
	return r.await(ctx, "waiting for answers", []func(*tally) *atomic.Int64{countReplies, countRequests}, func() bool {
		return int(f.board.finished.Load()) == len(f.workers) && f.sum(countReplies) >= f.sum(countRequests)
	})
}

func (r *run) pause(ctx context.Context, d time.Duration, what string) error {
	told, end := time.Now(), time.Now().Add(d)
	for left := d; left > 0; left = time.Until(end) {
		if err := r.ended(ctx); err != nil {
			return err
		}
		time.Sleep(min(left, 10*time.Millisecond))
		r.printProgress(&told, what)
	}
	return nil
}

// printProgress writes a line a second.
func (r *run) printProgress(told *time.Time, what string) {
	if r.progress == nil || time.Since(*told) < time.Second {
		return
	}
	*told = told.Add(time.Second)
	f := r.fleet
	line := fmt.Sprintf("%4.0f s  %-12s %8d joined", time.Since(r.opened).Seconds(), what, f.sum(countJoined)-f.sum(countEnded))
	if n := f.sum(countFailed) + f.sum(countEnded); n > 0 {
		line += fmt.Sprintf("  %d failed", n)
	}
	if n := f.board.published.Load(); n > 0 {
		line += fmt.Sprintf("  %8d published  %10d of %d delivered", n, f.sum(countDelivered), f.board.expected.Load())
	}
	if n := f.sum(countReplies); n > 0 && r.o.Mode == Echo {
		line += fmt.Sprintf("  %10d of %d answered", n, f.sum(countRequests))
	}
	if n := f.sum(countStates); n > 0 {
		line += fmt.Sprintf("  %d lists and %d diffs of presence", n, f.sum(countDiffs))
	}
	fmt.Fprintln(r.progress, line)
}

// newest returns when the last message that counts arrived.
func (f *fleet) newest() (at int64) {
	for i := range f.tallies {
		at = max(at, f.tallies[i].last.Load())
	}
	return at
}

func usages(pids []int) []usage {
	all := make([]usage, len(pids))
	for i, pid := range pids {
		all[i], _ = processUsage(pid) // quit reports a worker that died
	}
	return all
}

// busiest returns the largest share of a core that a worker used, and the CPU time
// of all workers.
func (r *run) busiest() (percent, seconds float64) {
	wall := r.over.Sub(r.begun).Seconds()
	var shares []float64
	for i := range r.load {
		cpu := (r.loadEnd[i].cpu - r.load[i].cpu).Seconds()
		seconds += cpu
		shares = append(shares, cpu/wall*100)
	}
	if len(shares) == 0 || wall <= 0 {
		return 0, 0
	}
	return slices.Max(shares), seconds
}

func countOpened(t *tally) *atomic.Int64     { return &t.opened }
func countJoined(t *tally) *atomic.Int64     { return &t.joined }
func countFailed(t *tally) *atomic.Int64     { return &t.failed }
func countEnded(t *tally) *atomic.Int64      { return &t.ended }
func countBytes(t *tally) *atomic.Int64      { return &t.bytes }
func countDelivered(t *tally) *atomic.Int64  { return &t.delivered }
func countCopies(t *tally) *atomic.Int64     { return &t.copies }
func countLate(t *tally) *atomic.Int64       { return &t.late }
func countTwice(t *tally) *atomic.Int64      { return &t.twice }
func countStray(t *tally) *atomic.Int64      { return &t.stray }
func countRequests(t *tally) *atomic.Int64   { return &t.requests }
func countReplies(t *tally) *atomic.Int64    { return &t.replies }
func countBeats(t *tally) *atomic.Int64      { return &t.beats }
func countAnswered(t *tally) *atomic.Int64   { return &t.beatsAnswered }
func countStates(t *tally) *atomic.Int64     { return &t.states }
func countDiffs(t *tally) *atomic.Int64      { return &t.diffs }
func countStateBytes(t *tally) *atomic.Int64 { return &t.stateBytes }
func countDiffBytes(t *tally) *atomic.Int64  { return &t.diffBytes }
func countWitnesses(t *tally) *atomic.Int64  { return &t.witnesses }
func countMistaken(t *tally) *atomic.Int64   { return &t.mistaken }
