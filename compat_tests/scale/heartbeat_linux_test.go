package scale

import (
	"testing"
	"time"
)

// heartbeatPart bounds the part of a processor that heartbeats take, beyond the packets
// themselves, with as many connections as a process can have.
const heartbeatPart = 0.02

// TestScaleHeartbeats compares two servers that get the same heartbeats at the same times:
// one from as many connections as a process can have, each with its deadline, and one from
// a hundred connections, which shows what the packets cost. Both get them at the pace of
// phoenix.js, every 30 s for each connection, and ten times as fast, where a difference
// shows ten times as much.
func TestScaleHeartbeats(t *testing.T) {
	needsFull(t)
	const few = 100
	n := affordable(t, fullScale+few) - few
	for _, pace := range []struct {
		name     string
		interval time.Duration
		turns    int
		phase    time.Duration // at the fast pace, the timeout, so that every deadline is due once
	}{
		{"ten times as fast", 3 * time.Second, 3, 6 * time.Second},
		{"every 30 s", 30 * time.Second, 1, 30 * time.Second},
	} {
		t.Run(pace.name, func(t *testing.T) {
			timeout := settings{IdleTimeout: 2 * pace.interval}
			many, bare := newChoir(t, timeout, n), newChoir(t, timeout, few)
			var beyond, perBeat []float64
			t.Logf("%d times %v of heartbeats from %d connections and from %d", pace.turns, pace.phase, n, few)
			for range pace.turns {
				whole, packets, beats := sendBoth(many, bare, n, pace.interval, pace.phase)
				beyond = append(beyond, (whole-packets).Seconds()/pace.phase.Seconds())
				perBeat = append(perBeat, whole.Seconds()*1e6/float64(beats))
				t.Logf("%d heartbeats in %v: %v from %d connections, %v from %d", beats, pace.phase, whole, n, packets, few)
			}
			// The cost beyond the packets is proportional to the pace.
			part := median(beyond) * float64(pace.interval) / float64(30*time.Second)
			t.Logf("%d connections: %.1f µs a heartbeat; beyond the packets %.2f %% of a processor at one heartbeat in 30 s, at most %.0f %%",
				n, median(perBeat), 100*part, 100*heartbeatPart)
			if part > heartbeatPart {
				t.Errorf("want at most %.0f %%", 100*heartbeatPart)
			}
			for _, c := range []*heartbeatMeter{many, bare} {
				if got := c.server.usage().Stats.Sockets; got != int64(len(c.fleet.clients)) {
					t.Errorf("%d sockets left of %d", got, len(c.fleet.clients))
				}
			}
		})
	}
}

// heartbeatMeter is a server with clients that only send heartbeats.
type heartbeatMeter struct {
	server *process
	fleet  *fleet
	next   int // the client that sends next
}

func newChoir(t *testing.T, s settings, n int) *heartbeatMeter {
	server := startServer(t, s)
	c := &heartbeatMeter{server: server, fleet: newFleet(t, server.addr, plainTopic, n)}
	c.fleet.join(func(int) string { return `{}` })
	return c
}

// sendBoth makes the clients of both meters send the heartbeats of n clients, evenly spaced
// and at the same times, and returns the CPU times of the servers.
func sendBoth(one, other *heartbeatMeter, n int, interval, phase time.Duration) (cpu, otherCPU time.Duration, beats int) {
	both := []*heartbeatMeter{one, other}
	before := []time.Duration{one.server.cpu(), other.server.cpu()}
	one.fleet.beats, other.fleet.beats = 0, 0
	begun := time.Now()
	for answered := false; !answered; time.Sleep(5 * time.Millisecond) {
		passed := min(time.Since(begun), phase)
		due := int(int64(n) * int64(passed) / int64(interval))
		for ; beats < due; beats++ {
			one.beat()
			other.beat()
		}
		answered = passed == phase
		for _, c := range both {
			c.fleet.handle()
			answered = answered && c.fleet.beats == beats
		}
	}
	return one.server.cpu() - before[0], other.server.cpu() - before[1], beats
}

func (c *heartbeatMeter) beat() {
	c.fleet.clients[c.next].send(`[null,"beat","phoenix","heartbeat",{}]`)
	c.next = (c.next + 1) % len(c.fleet.clients)
}

// TestScaleSilence checks that clients that send nothing are closed after the timeout, and
// not before, and that clients that send heartbeats stay.
func TestScaleSilence(t *testing.T) {
	const (
		n       = 500
		timeout = 5 * time.Second        // in which a busy machine can join all, and send a heartbeat
		tick    = 100 * time.Millisecond // of the server's loops
		// late is how late a busy machine may be; with -full the machine is idle.
		late = 30 * time.Second
	)
	server := startServer(t, settings{IdleTimeout: timeout})
	f := newFleet(t, server.addr, plainTopic, n)
	f.join(func(int) string { return `{}` })
	loud, silent := f.clients[:n/2], f.clients[n/2:]
	last := make(map[*client]time.Time)
	for _, c := range silent {
		c.send(`[null,"beat","phoenix","heartbeat",{}]`)
		last[c] = time.Now()
	}
	var earliest, latest time.Duration
	gone := 0
	next := time.Now()
	f.until("the silent ones to be gone", func() bool {
		if time.Now().After(next) {
			for _, c := range loud {
				c.send(`[null,"beat","phoenix","heartbeat",{}]`)
			}
			next = time.Now().Add(timeout / 4)
		}
		for c, since := range last {
			if c.fd >= 0 {
				continue
			}
			took := time.Since(since)
			if gone++; gone == 1 || took < earliest {
				earliest = took
			}
			latest = max(latest, took)
			if c.closeCode != 1002 {
				f.fail(c, "closed with %d, want 1002", c.closeCode)
			}
			delete(last, c)
		}
		return len(last) == 0
	})
	if f.open() != len(loud) {
		t.Errorf("%d are left, want %d", f.open(), len(loud))
	}
	most := timeout + tick
	if earliest < timeout || latest > most+late {
		t.Errorf("closed after %v to %v, want %v to %v", earliest, latest, timeout, most)
	}
	t.Logf("%d silent clients were closed after %v to %v", gone, earliest.Round(time.Millisecond), latest.Round(time.Millisecond))
}
