package scale

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/race"
)

const (
	// slowOutbound is the server's Limits.OutboundBytes.
	slowOutbound = 256 << 10
	// slowBody is the size of a message in bytes, and slowMessages how many there are in a
	// phase: more than kernel and server together keep for a receiver.
	slowBody     = 4 << 10
	slowMessages = 1_000
	// slowRounds is the number of rounds with and without slow receivers, with -full.
	slowRounds = 9
	// slowRatio bounds the p99 of the others with slow receivers, divided by the p99 without.
	slowRatio = 1.2
	// slowTries is how often that may be tried, because the machine does other things too.
	slowTries = 3
)

// TestScaleSlow makes one in a hundred receivers stop reading during a saturating fan-out.
// The others must get everything in order, memory must stay within the bound, and
// everything that is cut off or dropped must be counted. With -full, the others must not
// become slower either.
func TestScaleSlow(t *testing.T) {
	for _, policy := range []struct {
		name  string
		value channels.SlowReceiver
	}{
		{"disconnect", channels.DisconnectSlow}, {"drop oldest", channels.DropOldest}, {"drop newest", channels.DropNewest},
	} {
		t.Run(policy.name, func(t *testing.T) {
			if race.Enabled && policy.value != channels.DisconnectSlow {
				t.Skip("netloop's own tests have the race detector see it drop")
			}
			r := newRally(t, policy.value)
			if !*full {
				r.with()
			} else {
				r.compare()
			}
			r.end()
		})
	}
}

// slowMeter measures a fan-out in a closed loop: each publisher sends when its previous
// message has reached all clients that read, so that none of them falls behind.
type slowMeter struct {
	t      *testing.T
	policy channels.SlowReceiver
	server *process
	fleet  *fleet
	fast   int // clients that always read; the others are slow, and join again for each phase

	before    usage                   // when this phase began
	sent      [publishers][]time.Time // by publisher, of this phase
	arrived   [publishers]int         // deliveries to clients that read, of this phase
	latencies []time.Duration         // of this phase
	slowGot   int                     // messages that slow receivers have read
	cut       int64                   // slow receivers that were disconnected, in all phases
	body      string
}

func newRally(t *testing.T, policy channels.SlowReceiver) *slowMeter {
	fast := 200
	if *full {
		fast = 300
	}
	r := &slowMeter{t: t, policy: policy, fast: fast, body: strings.Repeat("x", slowBody)}
	r.server = startServer(t, settings{OutboundBytes: slowOutbound, SlowReceiver: policy, IdleTimeout: time.Hour})
	r.fleet = newFleet(t, r.server.addr, plainTopic, fast+fast/100)
	for _, c := range r.fleet.clients[fast:] {
		c.small = true
	}
	r.fleet.onMessage = r.handle
	r.connect(0, fast)
	return r
}

// connect makes a range of clients join.
func (r *slowMeter) connect(from, to int) {
	f := r.fleet
	for _, c := range f.clients[from:to] {
		c.state, c.seen = connecting, make([]int, publishers)
		f.until("room to connect", func() bool { return f.connecting < connectAtOnce })
		c.connect(`{}`)
	}
	f.until("all have joined", func() bool { return f.connecting == 0 })
}

// without runs a phase in which all clients read. It returns the 99th percentile of the
// times from sending a message to its arrival.
func (r *slowMeter) without() time.Duration {
	r.before = r.server.usage() // in every phase, because it collects garbage
	r.latencies = r.latencies[:0]
	r.arrived = [publishers]int{}
	for i := range r.sent {
		r.sent[i] = r.sent[i][:0]
	}
	for _, c := range r.fleet.clients[:r.fast] {
		clear(c.seen)
	}
	for _, c := range r.fleet.clients[:publishers] {
		r.publish(c)
	}
	r.fleet.until("all messages have reached all that read", func() bool { return len(r.latencies) == slowMessages*r.fast })
	slices.Sort(r.latencies)
	return r.latencies[len(r.latencies)*99/100]
}

// with runs a phase with slow receivers, and checks what happened to them.
func (r *slowMeter) with() time.Duration {
	r.t.Helper()
	slow := r.fleet.clients[r.fast:]
	r.connect(r.fast, r.fast+len(slow))
	for _, c := range slow {
		c.stop()
	}
	p99 := r.without()
	before, after := r.before, r.server.usage()
	r.checkMemory(before, after)
	if r.policy == channels.DisconnectSlow {
		r.checkCut(before, after)
	} else {
		r.checkDropped(before)
	}
	r.fleet.drop(slow)
	r.server.await("the slow ones to be gone", func(u usage) bool { return u.Stats.Sockets == int64(r.fast) })
	return p99
}

// compare runs phases in turns, and checks the median of the ratios of their p99.
func (r *slowMeter) compare() {
	r.t.Helper()
	r.t.Logf("%d phases with slow receivers and as many without, each of %d messages to %d: half a minute or more", slowRounds, slowMessages, r.fast)
	r.without() // warms up
	for try := 1; ; try++ {
		var alone, beside time.Duration
		var ratios []float64
		for i := range slowRounds {
			if i%2 == 0 { // the machine's speed drifts
				alone, beside = r.without(), r.with()
			} else {
				beside, alone = r.with(), r.without()
			}
			ratios = append(ratios, float64(beside)/float64(alone))
		}
		ratio := median(ratios)
		r.t.Logf("p99 with one in a hundred slow to p99 without: %.2f, at most %.1f (%.2f), the last %v and %v", ratio, slowRatio, ratios, beside, alone)
		if ratio <= slowRatio {
			return
		}
		if try == slowTries {
			r.t.Errorf("want at most %.2f", slowRatio)
			return
		}
	}
}

// publish sends the client's next message, if any.
func (r *slowMeter) publish(c *client) {
	number := len(r.sent[c.index])
	if number == slowMessages/publishers {
		return
	}
	r.sent[c.index] = append(r.sent[c.index], time.Now())
	c.send(fmt.Sprintf(`["j%d","m","%s","shout",{"from":%d,"number":%d,"body":%q}]`, c.index, r.fleet.topic, c.index, number+1, r.body))
}

func (r *slowMeter) handle(c *client, m message) {
	if m.event == "phx_reply" {
		return
	}
	from, number, ok := parseShout(m.payload)
	slow := c.index >= r.fast
	switch {
	case !ok:
		r.fleet.fail(c, "unexpected: %v", m)
		return
	case slow && number <= c.seen[from], !slow && number != c.seen[from]+1:
		r.fleet.fail(c, "message %d of publisher %d after %d", number, from, c.seen[from])
	}
	c.seen[from] = number
	if slow {
		r.slowGot++
		return
	}
	r.latencies = append(r.latencies, time.Since(r.sent[from][number-1]))
	if r.arrived[from]++; r.arrived[from] == number*r.fast {
		r.publish(r.fleet.clients[from])
	}
}

// parseShout parses {"from":1,"number":2,…}.
func parseShout(payload []byte) (from, number int, ok bool) {
	rest, ok := bytes.CutPrefix(payload, []byte(`{"from":`))
	first, rest, found := bytes.Cut(rest, []byte(`,"number":`))
	second, _, more := bytes.Cut(rest, []byte(","))
	from, err := strconv.Atoi(string(first))
	number, err2 := strconv.Atoi(string(second))
	return from, number, ok && found && more && err == nil && err2 == nil && from >= 0 && from < publishers
}

// checkMemory checks that the heap is within the bound: slow receivers × OutboundBytes, and
// what a server keeps that has just been busy.
func (r *slowMeter) checkMemory(before, after usage) {
	r.t.Helper()
	const kept = 2 << 20
	slow := int64(len(r.fleet.clients) - r.fast)
	if grown := after.Heap - before.Heap; grown > slow*slowOutbound+kept && !race.Enabled {
		r.t.Errorf("the heap grew by %[2]d bytes with %[1]d slow receivers, want at most %[3]d each", slow, grown, slowOutbound)
	}
}

// checkCut checks that every slow receiver was disconnected and counted.
func (r *slowMeter) checkCut(before, after usage) {
	r.t.Helper()
	slow := int64(len(r.fleet.clients) - r.fast)
	if got := after.Stats.Network.ClosedSlow - before.Stats.Network.ClosedSlow; got != slow {
		r.t.Errorf("%d connections counted as too slow, want %d", got, slow)
	}
	if after.Stats.Sockets != int64(r.fast) {
		r.t.Errorf("%d sockets left, want %d", after.Stats.Sockets, r.fast)
	}
	r.cut += slow
}

// checkDropped makes the slow receivers read again. What they do not get must have been
// counted as dropped.
func (r *slowMeter) checkDropped(before usage) {
	r.t.Helper()
	slow := r.fleet.clients[r.fast:]
	r.slowGot = 0
	for _, c := range slow {
		c.resume()
	}
	r.fleet.beat(slow) // its answer comes after all that waits
	after := r.server.usage()
	oldest := after.Stats.Network.DroppedOldest - before.Stats.Network.DroppedOldest
	newest := after.Stats.Network.DroppedNewest - before.Stats.Network.DroppedNewest
	want := int64(len(slow)*slowMessages - r.slowGot)
	if want == 0 || oldest+newest != want {
		r.t.Errorf("slow receivers got %d of %d messages; %d counted as dropped oldest, %d as newest",
			r.slowGot, len(slow)*slowMessages, oldest, newest)
	}
	if r.policy == channels.DropOldest && oldest == 0 || r.policy == channels.DropNewest && oldest > 0 {
		r.t.Errorf("%d counted as dropped oldest, %d as newest", oldest, newest)
	}
	if after.Stats.Network.ClosedSlow > 0 {
		r.t.Errorf("%d disconnected, although frames are to be dropped", after.Stats.Network.ClosedSlow)
	}
}

// end stops the server, and checks that it has logged each cut-off with its reason.
func (r *slowMeter) end() {
	r.t.Helper()
	r.server.terminate()
	r.fleet.until("the server has closed all connections", func() bool { return r.fleet.closed >= r.fast && r.fleet.open() == 0 })
	log := r.server.awaitLog()
	if got := int64(strings.Count(log, "slow receiver disconnected")); got != r.cut || int64(strings.Count(log, "\n")) != r.cut {
		r.t.Errorf("%d lines of slow receivers, want %d and no others:\n%.2000s", got, r.cut, log)
	}
}
