package bench

import (
	"fmt"
	"time"
)

// finishRun ends the workers and writes the report.
func (r *run) finishRun() {
	r.report.Errors = r.fleet.quit()
	if r.running {
		r.report.Run = r.runReport()
	}
	if r.report.Run == nil || r.o.Mode == Broadcast {
		r.presenceReport()
	}
	r.report.Open.Connect, r.report.Open.Join = r.latency(connectTimes), r.latency(joinTimes)
	r.report.Load.Processes = len(r.plan.Workers)
	r.report.Load.Busiest, r.report.Load.CPUSeconds = r.busiest()
	r.serverReport()
	r.judge()
}

func (r *run) latency(of func(*tally) *histogram) *Latency {
	all := new(histogram)
	for i := range r.fleet.tallies {
		all.merge(of(&r.fleet.tallies[i]))
	}
	return all.latency()
}

func connectTimes(t *tally) *histogram { return &t.connect }
func joinTimes(t *tally) *histogram    { return &t.join }
func latencies(t *tally) *histogram    { return &t.latency }
func lags(t *tally) *histogram         { return &t.lag }

// runReport reports what happened after joining.
func (r *run) runReport() *RunReport {
	switch r.o.Mode {
	case Broadcast:
		return r.broadcastReport()
	case Echo:
		return r.echoReport()
	}
	return r.anyReport(r.over.Sub(r.begun).Seconds())
}

// anyReport is the part of the report that all modes share.
func (r *run) anyReport(seconds float64) *RunReport {
	f := r.fleet
	return &RunReport{
		Seconds: seconds, Size: r.o.Size, Ended: f.sum(countEnded),
		Late: f.sum(countLate), Twice: f.sum(countTwice), Stray: f.sum(countStray),
		Heartbeats: f.sum(countBeats), HeartbeatsAnswered: f.sum(countAnswered),
		BytesPerSec: float64(f.sum(countBytes)-r.bytesBefore) / max(r.over.Sub(r.begun).Seconds(), 1e-9),
		Latency:     r.latency(latencies), Lag: r.latency(lags), Rate: r.o.Rate,
	}
}

func (r *run) broadcastReport() *RunReport {
	f := r.fleet
	report := r.anyReport(r.publishing().Seconds())
	r.loop(report, "when a publication was due", "when a publication was sent")
	report.Copies = f.sum(countCopies)
	for i := range r.receivers {
		published := f.topics[i].published.Load()
		report.Sent += published
		report.Expected += published * r.receivers[i]
	}
	report.Delivered = f.sum(countDelivered)
	report.Lost = r.lost(report)
	report.PerSecond = float64(report.Delivered) / max(report.Seconds, 1e-9)
	return report
}

// publishing returns the time from the first publication, or when it was due,
// to the last delivery; 0 if there was none.
func (r *run) publishing() time.Duration {
	begun := r.fleet.board.begun.Load()
	if begun == 0 {
		return 0
	}
	return time.Duration(max(r.fleet.newest()-begun, 0))
}

func (r *run) echoReport() *RunReport {
	f := r.fleet
	report := r.anyReport(min(r.o.Duration, r.over.Sub(r.begun)).Seconds())
	r.loop(report, "when a request was due", "when a request was sent")
	report.Copies = f.sum(countCopies)
	report.Sent = f.sum(countRequests)
	report.Expected, report.Delivered = report.Sent, f.sum(countReplies)
	report.Lost = r.lost(report)
	report.PerSecond = float64(report.Delivered) / max(report.Seconds, 1e-9)
	return report
}

// lost returns how many awaited messages have not arrived.
func (r *run) lost(report *RunReport) int64 {
	if r.interrupted {
		return 0
	}
	return report.Expected - report.Delivered
}

func (r *run) loop(report *RunReport, open, closed string) {
	if r.o.Rate > 0 {
		report.Loop, report.LatencyFrom = "open", open
		return
	}
	report.Loop, report.LatencyFrom = "closed", closed
	if r.o.Mode == Echo {
		report.Depth = r.o.Depth
	} else {
		report.Window = r.o.Window
	}
}

func (r *run) presenceReport() {
	f := r.fleet
	p := &PresenceReport{
		States: f.sum(countStates), StateBytes: f.sum(countStateBytes),
		Diffs: f.sum(countDiffs), DiffBytes: f.sum(countDiffBytes),
		Witnesses: f.sum(countWitnesses), Mistaken: f.sum(countMistaken),
		Quiet: time.Duration(f.newest() - r.openedAt).Seconds(),
	}
	if r.o.Mode == Presence || p.States+p.Diffs > 0 {
		r.report.Presence = p
	}
}

func (r *run) serverReport() {
	if len(r.o.PIDs) == 0 {
		return
	}
	if r.serverGone {
		return // the usage of a process that has ended is unknown
	}
	begun := r.rested
	if r.report.Run == nil {
		begun = r.before
	}
	s := &ServerReport{
		PIDs: r.o.PIDs, Threads: r.end.threads, RSSBefore: r.before.resident, RSSJoined: r.rested.resident, RSSEnd: r.end.resident,
		CPUSeconds: (r.end.cpu - begun.cpu).Seconds(), UserSeconds: (r.end.user - begun.user).Seconds(), SysSeconds: (r.end.system - begun.system).Seconds(),
	}
	s.CPUPercent = s.CPUSeconds / max(r.over.Sub(r.begun).Seconds(), 1e-9) * 100
	if n := float64(r.report.Open.Joined); n > 0 {
		joined := r.joined
		if r.o.Mode == Presence {
			joined = r.rested // until the last diff has been sent
		}
		s.CPUPerJoin = float64((joined.cpu - r.before.cpu).Microseconds()) / n
		s.RSSPerConn = float64(r.rested.resident-r.before.resident) / n
	}
	if run := r.report.Run; run != nil && run.Delivered > 0 {
		units := run.Delivered
		s.Unit = "answer"
		if r.o.Mode == Broadcast {
			s.Unit = "delivery"
			units += run.Copies
		}
		s.CPUPerUnit = s.CPUSeconds * 1e6 / float64(units)
	}
	r.report.Server = s
}

// judge reports what has gone wrong.
func (r *run) judge() {
	if run := r.report.Run; run != nil {
		for _, p := range []struct {
			n    int64
			what string
		}{
			{run.Lost, "lost"}, {run.Late, "out of order"}, {run.Twice, "delivered twice"}, {run.Stray, "on the wrong topic or without the mark that they were sent with"},
		} {
			if p.n != 0 {
				r.problem("%d messages %s", p.n, p.what)
			}
		}
	}
	if n := r.fleet.sum(countEnded); n > 0 {
		r.problem("%d connections ended after they had joined", n)
	}
	if n := r.unanswered(); n > 0 {
		r.problem("%d heartbeats were not answered", n)
	}
	if p := r.report.Presence; p != nil && r.o.Mode == Presence && !r.interrupted {
		if p.Mistaken > 0 {
			r.problem("%d of %d witnesses are wrong about who is there", p.Mistaken, p.Witnesses)
		}
		if p.States < r.report.Open.Joined {
			r.problem("%d connections got %d lists of who is there: does the topic have presence?", r.report.Open.Joined, p.States)
		}
	}
	if len(r.report.Problems) == 0 && len(r.report.Errors) > 0 {
		r.problem("there were errors")
	}
	r.report.OK = len(r.report.Problems) == 0
	r.caution()
}

// unanswered returns the number of heartbeats without an answer.
func (r *run) unanswered() int64 {
	if run := r.report.Run; run != nil && r.o.Mode == Idle && !r.interrupted && run.Ended == 0 {
		return run.Heartbeats - run.HeartbeatsAnswered
	}
	return 0
}

// saturated is the share of a core above which a worker may limit the figures.
const saturated = 95

func (r *run) caution() {
	warn := func(format string, args ...any) {
		r.report.Warnings = append(r.report.Warnings, fmt.Sprintf(format, args...))
	}
	if r.report.Load.Busiest > saturated {
		warn("the generator was busy for %.0f %% of the time of one core: its own speed may be what was measured; try --processes %d",
			r.report.Load.Busiest, len(r.plan.Workers)+1)
	}
	if p := r.report.Presence; p != nil && r.o.Mode != Presence {
		warn("%d lists and %d diffs of presence came besides, %.1f MB: switch presence off for this topic to measure without",
			p.States, p.Diffs, float64(p.StateBytes+p.DiffBytes)/1e6)
	}
	if run := r.report.Run; run != nil {
		if r.o.Mode == Echo && run.Copies > run.Delivered/10 {
			warn("%d broadcasts came besides the answers; against a server that relays what it is sent, give each connection a topic and no copy of its own: "+
				`--topics %d --join-payload '{"self":false}'`, run.Copies, r.o.Connections)
		}
		if run.Lag != nil && run.Latency != nil && run.Lag.P99 > run.Latency.P99/2 {
			warn("the generator itself was late: by %.0f µs for 1 %% of what it sent", run.Lag.P99)
		}
	}
}
