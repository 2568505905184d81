package scale

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/race"
)

const (
	// floodRounds is the number of phases of each kind, with -full, and floodTries how
	// often they may be repeated.
	floodRounds = 5
	floodTries  = 3
	// floodRatio bounds the p99 of a well-behaved instance beside a flooded one of the same
	// server, divided by its p99 beside the same flood in another server.
	// saturatedRatio is the bound for floods that use the whole processor: then the
	// system runs the well-behaved server as soon as it is ready, but within one server it
	// waits for the end of a turn. docs/performance.md has the measurements.
	floodRatio     = 1.2
	saturatedRatio = 3
	// floodBound bounds the p99 without -full. Clients that wait behind a flood wait for
	// seconds.
	floodBound = 500 * time.Millisecond
	// floodPace is the time between two messages of the well-behaved clients.
	floodPace = 4 * time.Millisecond
	// floodClients is the number of well-behaved clients.
	floodClients = 20
)

// flooded is a way to flood an instance.
type flooded struct {
	name     string
	flooding               // by its clients
	every    time.Duration // the time between two broadcasts of its logic, or 0
	ratio    float64
	happened func(s instances.Stats) bool
}

var floods = []flooded{
	{"messages above their rates", flooding{Path: "/socket/flood/websocket", Manner: "send", Clients: 20}, 0, floodRatio,
		func(s instances.Stats) bool { return s.RateLimited > 100 && s.HeldUp > 0 }},
	{"heartbeats", flooding{Path: "/socket/flood/websocket", Manner: "beat", Clients: 20}, 0, floodRatio,
		func(s instances.Stats) bool { return s.HeldUp > 0 }},
	{"messages within their rates to everybody", flooding{Path: "/socket/flood/websocket", Manner: "shout", Clients: 20}, 0, saturatedRatio,
		func(s instances.Stats) bool { return s.MessagesOut > 5_000 }},
	{"logic that broadcasts in a loop", flooding{Path: "/socket/spout/websocket", Manner: "listen", Clients: 50}, 1, saturatedRatio,
		func(s instances.Stats) bool { return s.MessagesOut > 5_000 }},
	{"clients that never read", flooding{Path: "/socket/spout/websocket", Manner: "deaf", Clients: 50}, 100 * time.Microsecond, floodRatio,
		func(s instances.Stats) bool { return s.MessagesOut > 2_000 }},
	{"a storm of connects and joins", flooding{Path: "/socket/flood/websocket", Manner: "storm", Clients: 20}, 0, saturatedRatio,
		func(s instances.Stats) bool { return s.Connected > 40 }},
}

// TestScaleFloods measures a well-behaved instance while another instance of the same
// server is flooded. The flood uses up a processor whatever the server does, so it is
// compared, in turns, with the same flood of another server on the same processor. The
// servers run on one processor, the measured clients on another, and the flooding clients
// get what is left of that one.
func TestScaleFloods(t *testing.T) {
	if race.Enabled {
		t.Skip("it measures times")
	}
	w := &floodMeter{t: t, phase: 75}
	if *full {
		w.phase = 500
	}
	if runtime.NumCPU() > 1 {
		w.servers, w.clients = 1, 2
	}
	w.server = startServer(t, settings{Instances: 1, Spout: true, Quiet: true, IdleTimeout: time.Hour, OutboundBytes: slowOutbound, Processor: w.servers})
	w.other = startServer(t, settings{Instances: 1, Spout: true, Quiet: true, IdleTimeout: time.Hour, OutboundBytes: slowOutbound, Processor: w.servers})
	w.fleet = newFleet(t, w.server.addr, plainTopic, floodClients)
	for _, c := range w.fleet.clients {
		c.path = "/socket/i0/websocket"
	}
	w.fleet.onMessage = w.handle
	w.fleet.join(func(int) string { return `{}` })
	w.pin()
	for _, f := range floods {
		t.Run(f.name, func(t *testing.T) {
			w.t, w.fleet.t = t, t
			if *full {
				w.compare(f)
				return
			}
			// A flood slows down the others every time; other work on the machine does not.
			slow := true
			for turns := 6; turns > 0 && slow; turns-- {
				quiet := w.quiet()
				beside := w.beside(w.server, f)
				t.Logf("p99 of arrivals and replies: %v and %v, beside the flood %v and %v", quiet.arrivals, quiet.replies, beside.arrivals, beside.replies)
				slow = max(beside.arrivals, beside.replies) > max(floodBound, 20*max(quiet.arrivals, quiet.replies))
			}
			if slow {
				t.Errorf("want less than %v", floodBound)
			}
		})
	}
	w.t, w.fleet.t = t, t
	if w.fleet.closed > 0 {
		t.Errorf("%d of the well-behaved connections were closed", w.fleet.closed)
	}
	w.fleet.drop(w.fleet.clients)
	for _, s := range []*process{w.server, w.other} {
		s.terminate()
		s.awaitExit()
	}
}

// floodMeter measures well-behaved clients with and without a flood.
type floodMeter struct {
	t                *testing.T
	server, other    *process
	fleet            *fleet
	servers, clients int // processors, numbered from 1; 0 is any
	phase            int // messages

	sent              []time.Time                     // by message, of this phase
	next              [floodClients][floodClients]int // by receiver and sender: the next message
	arrivals, replies []time.Duration
}

// waits has 99th percentiles.
type waits struct{ arrivals, replies time.Duration }

// pin leaves the servers' processor to the servers. It locks the goroutine of the test to
// its thread.
func (w *floodMeter) pin() {
	if w.clients == 0 {
		return
	}
	runtime.LockOSThread()
	var before, one unix.CPUSet
	unix.SchedGetaffinity(0, &before)
	one.Set(w.clients - 1)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		w.t.Log("not pinned: ", err)
	}
	w.t.Cleanup(func() {
		unix.SchedSetaffinity(0, &before)
		runtime.UnlockOSThread()
	})
}

// quiet runs a phase in which clients send messages to all at a steady pace.
func (w *floodMeter) quiet() waits {
	w.t.Helper()
	w.sent = w.sent[:0]
	for i := range w.next {
		for from := range w.next[i] {
			w.next[i][from] = from
		}
	}
	w.arrivals, w.replies = w.arrivals[:0], w.replies[:0]
	for begun := time.Now(); len(w.sent) < w.phase; {
		due := begun.Add(time.Duration(len(w.sent)) * floodPace)
		if left := time.Until(due); left > 0 {
			w.fleet.poll(int(left/time.Millisecond) + 1)
			continue
		}
		n := len(w.sent)
		c := w.fleet.clients[n%floodClients]
		w.sent = append(w.sent, time.Now())
		c.send(fmt.Sprintf(`["j%d","%d","%s","shout",{"number":%d}]`, c.index, n, w.fleet.topic, n))
	}
	w.fleet.until("all messages have arrived", func() bool { return len(w.arrivals) == w.phase*floodClients && len(w.replies) == w.phase })
	slices.Sort(w.arrivals)
	slices.Sort(w.replies)
	return waits{w.arrivals[len(w.arrivals)*99/100], w.replies[len(w.replies)*99/100]}
}

func (w *floodMeter) handle(c *client, m message) {
	if m.event == "phx_reply" {
		n, err := strconv.Atoi(m.ref)
		if err != nil || n >= len(w.sent) || string(m.payload) != okReply {
			w.fleet.fail(c, "unexpected: %v", m)
			return
		}
		w.replies = append(w.replies, time.Since(w.sent[n]))
		return
	}
	var shout struct{ Number uint }
	err := json.Unmarshal(m.payload, &shout)
	n := int(shout.Number)
	next := &w.next[c.index][n%floodClients]
	if err != nil || m.event != "shout" || n != *next {
		w.fleet.fail(c, "got %[2]v, want message %[1]d", *next, m)
		return
	}
	*next += floodClients // clients send in turn
	w.arrivals = append(w.arrivals, time.Since(w.sent[n]))
}

// beside runs a phase while an instance of a server is flooded.
func (w *floodMeter) beside(s *process, f flooded) waits {
	w.t.Helper()
	before := w.stats(s, f)
	f.Addr = s.addr
	stop := startFlood(w.t, w.clients, f.flooding)
	defer stop()
	if f.every > 0 {
		s.get(fmt.Sprint("/spout?every=", int64(f.every)))
		defer s.get("/spout?every=0")
	}
	result := w.quiet()
	after := w.stats(s, f)
	after.RateLimited -= before.RateLimited
	after.HeldUp -= before.HeldUp
	after.MessagesOut -= before.MessagesOut
	after.Connected -= before.Connected
	if !f.happened(after) {
		w.t.Errorf("the instance was not flooded: %+v", after)
	}
	return result
}

// stats returns the counters of the flooded instance.
func (w *floodMeter) stats(s *process, f flooded) (stats instances.Stats) {
	w.t.Helper()
	id := "flood"
	if f.every > 0 {
		id = "spout"
	}
	if err := json.Unmarshal(s.get("/stats?of="+id), &stats); err != nil {
		w.t.Fatal(err)
	}
	return stats
}

// compare runs phases in turns and compares the medians of their p99.
func (w *floodMeter) compare(f flooded) {
	w.t.Helper()
	w.quiet() // warms up
	for try := 1; ; try++ {
		var alone, apart, beside [2][]float64
		add := func(to *[2][]float64, v waits) {
			to[0] = append(to[0], v.arrivals.Seconds()*1000)
			to[1] = append(to[1], v.replies.Seconds()*1000)
		}
		for range floodRounds {
			add(&alone, w.quiet())
			add(&apart, w.beside(w.other, f))
			add(&beside, w.beside(w.server, f))
		}
		worst := 0.0
		for i, what := range []string{"arrivals", "replies"} {
			q, a, b := median(alone[i]), median(apart[i]), median(beside[i])
			w.t.Logf("p99 of %s: %.2f ms alone, %.2f ms with the flood in another server, %.2f ms in the same: %.2f of the former and %.2f of the latter",
				what, q, a, b, b/q, b/a)
			worst = max(worst, b/a)
		}
		if worst <= f.ratio {
			return
		}
		if try == floodTries {
			w.t.Errorf("want at most %.2f", f.ratio)
			return
		}
	}
}
