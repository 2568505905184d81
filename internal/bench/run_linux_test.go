package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances/relay"
)

// serveRelay serves the relay of mycelium serve in this process and returns
// its address.
func serveRelay(t *testing.T) string {
	t.Helper()
	url, _ := serveRelayTCP(t)
	return url
}

// serveRelayTCP is serveRelay with the address for raw TCP.
func serveRelayTCP(t *testing.T) (url, tcp string) {
	t.Helper()
	endpoint, err := channels.NewEndpoint(channels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := relay.New(endpoint, relay.Options{Topics: []string{"*"}, PresenceOff: []string{"quiet:*"}})
	endpoint.Socket("/socket", channels.SocketOptions{Connect: r.Connect}, r.Channels()...)
	addr, tcpAddr := listenTwice(t, endpoint)
	t.Cleanup(func() {
		if err := endpoint.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		r.Close()
	})
	return "ws://" + addr.String() + "/socket", "ws://" + tcpAddr.String() + "/socket"
}

// listenTwice has an endpoint serve WebSockets and raw TCP.
func listenTwice(t *testing.T, e *channels.Endpoint) (addr, tcp net.Addr) {
	t.Helper()
	addr, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if tcp, err = e.ListenTCP("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	return addr, tcp
}

// TestModes runs each mode against a real server, with options that make it hard.
func TestModes(t *testing.T) {
	t.Parallel()
	url, tcp := serveRelayTCP(t)
	overTCP := func(o *Options) { o.TCP, o.URLs = true, []string{tcp} }
	pid := os.Getpid()
	tests := []struct {
		name  string
		mode  Mode
		setup func(o *Options)
		check func(r *Report) bool
	}{
		{"idle", Idle, func(o *Options) { o.Heartbeat, o.Duration = 50*time.Millisecond, 500*time.Millisecond }, func(r *Report) bool {
			return r.Run.Heartbeats >= 30 && r.Run.HeartbeatsAnswered >= r.Run.Heartbeats-30 && r.Server.RSSJoined > 0
		}},
		{"broadcast in a closed loop", Broadcast, func(o *Options) { o.Window, o.Messages = 5, 200 }, func(r *Report) bool {
			return r.Run.Sent == 200 && r.Run.Delivered == 6000 && r.Run.Copies == 200 && r.Server.CPUPerUnit > 0 && r.Run.Loop == "closed"
		}},
		{"broadcast in an open loop on many topics from several publishers and processes", Broadcast, func(o *Options) {
			o.Topics, o.Topic, o.Publishers, o.Processes, o.Rate, o.Messages, o.Duration = 3, "quiet:{n}", 2, 3, 300, 0, 200*time.Millisecond
			o.PublisherPayload = `{"self":false}`
		}, func(r *Report) bool {
			// 6 publishers in turns; each of the 10 publications of each reaches 10 receivers and the other publisher.
			return r.Run.Sent == 60 && r.Run.Delivered == 600 && r.Run.Copies == 60 && r.Run.Lag.Count == 60 && r.Load.Processes == 4
		}},
		{"broadcast over raw TCP", Broadcast, func(o *Options) {
			overTCP(o)
			o.Window, o.Messages, o.Heartbeat = 5, 200, 50*time.Millisecond
		}, func(r *Report) bool { return r.Run.Sent == 200 && r.Run.Delivered == 6000 && r.Run.Copies == 200 }},
		{"broadcast of long messages over raw TCP", Broadcast, func(o *Options) {
			overTCP(o)
			o.Messages, o.Size, o.Connections = 5, 300_000, 3
		}, func(r *Report) bool { return r.Run.Delivered == 15 }},
		{"echo over raw TCP", Echo, func(o *Options) {
			overTCP(o)
			o.Event, o.Depth = heartbeatEvent, 3
		}, func(r *Report) bool { return r.Run.Sent >= 90 && r.Run.Delivered == r.Run.Sent }},
		{"presence over raw TCP", Presence, func(o *Options) {
			overTCP(o)
			o.Topic, o.JoinPayload, o.Settle = "who:tcp", `{"user":"u{n}"}`, 2*time.Second
		}, func(r *Report) bool { return r.Presence.States == 30 && r.Presence.Mistaken == 0 }},
		{"broadcast of long messages", Broadcast, func(o *Options) { o.Messages, o.Size, o.Connections = 5, 300_000, 3 }, func(r *Report) bool {
			return r.Run.Delivered == 15 && r.Run.BytesPerSec > 0
		}},
		{"echo of heartbeats", Echo, func(o *Options) { o.Event, o.Depth = heartbeatEvent, 3 }, func(r *Report) bool {
			return r.Run.Sent >= 90 && r.Run.Delivered == r.Run.Sent && r.Run.Depth == 3
		}},
		{"echo of an event", Echo, func(o *Options) {
			o.Topics, o.Topic, o.JoinPayload, o.Rate = 30, "quiet:{n}", `{"self":false}`, 500
		}, func(r *Report) bool { return r.Run.Sent == 50 && r.Run.Delivered == 50 && r.Run.Copies == 0 }},
		{"join at a rate from several addresses", Join, func(o *Options) {
			o.ConnectRate, o.Sources = 100, []string{"127.0.0.2", "127.0.0.3"}
		}, func(r *Report) bool {
			return r.Open.Seconds >= .25 && r.Open.Connect.Count == 30 && r.Server.CPUPerJoin > 0
		}},
		{"presence", Presence, func(o *Options) {
			o.Topic, o.Topics, o.Processes, o.JoinPayload, o.Settle = "who:{n}", 2, 2, `{"user":"u{n}"}`, 2*time.Second
		}, func(r *Report) bool {
			return r.Presence.States == 30 && r.Presence.Diffs > 0 && r.Presence.Witnesses == 8 && r.Presence.Mistaken == 0
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := quick(test.mode, url)
			o.Connections, o.Topic, o.PIDs = 30, "quiet:a", []int{pid}
			test.setup(o)
			r := execute(t, o)
			if !r.OK || r.Open.Failed != 0 || !test.check(r) {
				text, _ := json.Marshal(r)
				t.Errorf("%s", text)
			}
			var b strings.Builder
			if err := r.WriteText(&b); err != nil || strings.Contains(b.String(), "LOST") || strings.Contains(b.String(), "NaN") {
				t.Errorf("%v:\n%s", err, b.String())
			}
		})
	}
}

// TestLongLists checks that long lists of presences are counted.
func TestLongLists(t *testing.T) {
	t.Parallel()
	o := quick(Presence, serveRelay(t))
	o.Connections, o.Topic, o.Settle = 300, "who:a", 2*time.Second
	o.JoinPayload = `{"user":"bench-{n}","meta":{"about":"` + strings.Repeat("x", 200) + `"}}`
	r := execute(t, o)
	p := r.Presence
	if !r.OK || p.States != 300 || p.StateBytes < 300*150*250 || p.Witnesses != witnessesEach {
		t.Errorf("%v %v %+v", r.Problems, r.Errors, p)
	}
}

// TestSeveralURLs checks that each of several servers gets its share.
func TestSeveralURLs(t *testing.T) {
	o := quick(Join, serveRelay(t))
	o.URLs = append(o.URLs, startFake(t, &fakeServer{status: 503}).url)
	o.Connections = 10
	if r := execute(t, o); r.OK || r.Open.Joined != 5 || r.Open.Failed != 5 {
		t.Errorf("%+v", r.Open)
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	o := quick(Idle, serveRelay(t))
	o.Duration = time.Hour
	time.AfterFunc(300*time.Millisecond, cancel)
	r, err := Run(ctx, o, nil, new(strings.Builder))
	if err != nil || r.OK || r.Problems[0] != errInterrupted.Error() {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	o := quick(Idle, serveRelay(t))
	o.Duration = 3 * time.Second
	var progress strings.Builder
	if _, err := Run(t.Context(), o, &progress, new(strings.Builder)); err != nil || !strings.Contains(progress.String(), "3 joined") {
		t.Errorf("%q, %v", progress.String(), err)
	}
}

func TestUnknownPID(t *testing.T) {
	o := quick(Idle, "ws://127.0.0.1:1/socket")
	o.PIDs = []int{1 << 30}
	if _, err := Run(t.Context(), o, nil, new(strings.Builder)); err == nil || !strings.Contains(err.Error(), "--pid: process 1073741824 does not exist") {
		t.Error(err)
	}
}

func TestPreflight(t *testing.T) {
	targets := []target{{}}
	if t0, err := findTarget(t.Context(), new(Options), someURL); err != nil {
		t.Fatal(err)
	} else {
		targets[0] = t0
	}
	o := defaults(Idle)
	o.Connections = 3_000_000
	p, _, err := preflight(o, targets)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Sources) < 3_000_000/65_536 || len(p.Workers) < 2 {
		t.Errorf("%d sources and %d workers for three million connections", len(p.Sources), len(p.Workers))
	}
	held := 0
	for _, w := range p.Workers {
		if w.First != held {
			t.Fatalf("worker %+v after %d connections", w, held)
		}
		held += w.Count
	}
	if held != o.Connections {
		t.Errorf("%d connections in all", held)
	}
	p.Targets = make([]target, 4) // where each connection goes in turn
	pairs := map[string]int{}
	for n := range 8 * len(p.Sources) {
		pairs[fmt.Sprint(n%4, p.source(n))]++
	}
	if len(pairs) != 4*len(p.Sources) {
		t.Errorf("%d pairs of 4 targets and %d sources", len(pairs), len(p.Sources))
	}
	o.Sources = []string{"127.0.0.2"}
	if _, _, err := preflight(o, targets); err == nil || !strings.Contains(err.Error(), "name more with --source") {
		t.Error(err)
	}
	o.Sources = []string{"localhost"}
	if _, _, err := preflight(o, targets); err == nil || !strings.Contains(err.Error(), "is not an IP address") {
		t.Error(err)
	}
	broadcast := defaults(Broadcast)
	broadcast.Connections, broadcast.Topics, broadcast.Publishers = 5_000_000, 5_000_000, 1
	if _, _, err := preflight(broadcast, targets); err == nil || !strings.Contains(err.Error(), "raise the limit") {
		t.Error(err)
	}
}

// TestOrphans checks that workers exit when their parent has died.
func TestOrphans(t *testing.T) {
	p := newPlan(quick(Idle, someURL), []target{{Request: "x"}}, nil, 100)
	f, err := startFleet(p, new(strings.Builder))
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	for _, stdin := range f.stdins {
		stdin.Close() // as the end of this process would
	}
	for i, w := range f.workers {
		if err := w.Wait(); err == nil || !errors.As(err, new(interface{ ExitCode() int })) {
			t.Errorf("worker %d: %v", i, err)
		}
	}
	f.workers = nil
}

// TestServerEnds checks that a run ends with the last of its connections, and says
// so.
func TestServerEnds(t *testing.T) {
	for _, mode := range []Mode{Idle, Broadcast, Echo} {
		t.Run(string(mode), func(t *testing.T) {
			s := startFake(t, new(fakeServer))
			s.answer = func(net.Conn, message) {
				for _, c := range s.joined {
					c.Close()
				}
			}
			o := quick(mode, s.url)
			o.Duration, o.Patience, o.Heartbeat, o.Messages = time.Hour, time.Hour, 10*time.Millisecond, 0
			r := execute(t, o)
			if r.OK || !strings.Contains(strings.Join(r.Problems, "\n"), "ended") || r.Run.Ended == 0 {
				t.Errorf("%v\n%+v", r.Problems, r.Run)
			}
			var b strings.Builder
			if err := r.WriteJSON(&b); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestHeartbeatsAreAnswered checks that a run reports a server that does not answer
// heartbeats.
func TestHeartbeatsAreAnswered(t *testing.T) {
	t.Parallel()
	s := startFake(t, new(fakeServer))
	s.answer = func(net.Conn, message) {}
	o := quick(Idle, s.url)
	o.Heartbeat, o.Patience = 50*time.Millisecond, exhausted
	if r := execute(t, o); r.OK || !strings.Contains(strings.Join(r.Problems, "\n"), "heartbeats were not answered") {
		t.Errorf("%v\n%+v", r.Problems, r.Run)
	}
}

// TestPreflightOfFilesAndAddresses checks that wrong files and addresses are
// reported before a connection is opened.
func TestPreflightOfFilesAndAddresses(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, setup := range map[string]func(o *Options){
		"use IPv4 for both or IPv6 for both":             func(o *Options) { o.Sources = []string{"::1"} },
		"198.51.100.7 is not an address of this machine": func(o *Options) { o.Sources = []string{"198.51.100.7"} },
		"has no certificate in PEM":                      func(o *Options) { o.CA = text },
		"--ca: open " + text + "2":                       func(o *Options) { o.CA = text + "2" },
	} {
		o := quick(Idle, someURL)
		setup(o)
		_, err := Run(t.Context(), o, nil, new(strings.Builder))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if r := Failed(o, errors.Join(err)); r.OK || !strings.Contains(r.Problems[0], want) {
			t.Errorf("%+v", r)
		}
	}
}

// TestInterruptedEarly interrupts a run in every phase. What is outstanding then
// does not count as lost.
func TestInterruptedEarly(t *testing.T) {
	url := serveRelay(t)
	for name, setup := range map[string]func(o *Options){
		"joining": func(o *Options) { o.ConnectRate, o.Connections = 1, 100 },
		"resting": func(o *Options) { o.Settle = time.Hour },
		"running": func(o *Options) { o.Window, o.Messages, o.Connections = 1000, 1<<30, 200 },
		"behind":  func(o *Options) { o.Rate, o.Messages, o.Duration = 1e8, 0, time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			o := quick(Broadcast, url)
			o.Topic = "quiet:a"
			setup(o)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			r, err := Run(ctx, o, nil, new(strings.Builder))
			if err != nil || r.OK || r.Problems[0] != errInterrupted.Error() || r.Run != nil && r.Run.Lost > 0 {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// TestWorkersLeaveTogether checks that a worker that notices the end of the run late
// still sees all presences: no other worker has closed a connection yet.
func TestWorkersLeaveTogether(t *testing.T) {
	o := quick(Presence, serveRelay(t))
	o.Connections, o.Topic, o.Processes, o.JoinPayload = 8, "who:a", 2, `{"user":"u{n}"}`
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	to, err := findTarget(t.Context(), o, o.URLs[0])
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := preflight(o, []target{to})
	if err != nil {
		t.Fatal(err)
	}
	r := &run{o: o, plan: p, report: newReport(o)}
	if r.fleet, err = startFleet(p, os.Stderr); err != nil {
		t.Fatal(err)
	}
	defer r.fleet.close()
	if err := errors.Join(r.open(t.Context()), r.runPhases(t.Context())); err != nil {
		t.Fatal(err)
	}
	r.fleet.board.phase.Store(int32(quitting))
	wake(r.fleet.eventfds[0])          // the other one sleeps on
	time.Sleep(200 * time.Millisecond) // enough to exit; if it is too short, the test still passes
	if counted := r.fleet.quit(); len(counted) > 0 {
		t.Errorf("the workers found %v", counted)
	}
	if n, wrong := r.fleet.sum(countWitnesses), r.fleet.sum(countMistaken); n != 8 || wrong != 0 {
		t.Errorf("%d of %d witnesses are wrong", wrong, n)
	}
}
