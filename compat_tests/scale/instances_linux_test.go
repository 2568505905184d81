package scale

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"
)

const (
	// instanceRounds is the number of phases with and without faults, with -full.
	instanceRounds = 5
	// instanceRatio bounds the p99 of the good instances with faults in others, divided by
	// the p99 without.
	instanceRatio = 1.2
	instanceTries = 3
	// instanceWaves is how often each publisher sends in a phase.
	instanceWaves = 100
	// instancePublishers is how many instances have a publisher.
	instancePublishers = 100
)

// TestScaleInstances connects the same number of clients to each of many instances, and
// publishes in some of them. While fifty others crash as fast as they are restarted, every
// message must arrive where it belongs and nowhere else, and the good instances must not
// lose a connection. With -full, they must not become slower either.
func TestScaleInstances(t *testing.T) {
	n, all := 150, 600
	if *full {
		// Ten clients each would need 20,000 connections, which is the limit on open files.
		n, all = 2_000, affordable(t, 20_000)
	}
	s := startServer(t, settings{Instances: n, IdleTimeout: time.Hour})
	var made creationCost
	if err := json.Unmarshal(s.get("/created"), &made); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d instances: %.0f created a second, %d bytes each while empty", n, float64(n)/made.Took.Seconds(), made.Each)
	p := &instanceMeter{t: t, server: s, fleet: newFleet(t, s.addr, plainTopic, all), instances: n}
	p.join(made)
	if *full {
		p.compare()
	} else if p.with() == 0 {
		t.Error("nothing was measured")
	}
	if p.fleet.closed > 0 {
		t.Errorf("%d of the good connections were closed", p.fleet.closed)
	}
	p.fleet.drop(p.fleet.clients)
	s.terminate()
	s.awaitExit()
}

// instanceMeter has the clients of all n instances. Every n-th client is in the same one.
type instanceMeter struct {
	t         *testing.T
	server    *process
	fleet     *fleet
	instances int

	sent      []time.Time     // by instance, of this wave
	latencies []time.Duration // of this phase
	crashes   int64           // in all phases
}

// join makes all clients join, and logs what an instance then costs.
func (p *instanceMeter) join(made creationCost) {
	p.t.Helper()
	for i, c := range p.fleet.clients {
		c.path = fmt.Sprintf("/socket/i%d/websocket", i%p.instances)
	}
	p.fleet.onMessage = p.handle
	before, began := p.server.usage(), time.Now()
	p.fleet.join(func(int) string { return `{}` })
	took, after, all := time.Since(began), p.server.usage(), len(p.fleet.clients)
	p.t.Logf("%d clients joined in %v, %d in each of %d instances and one more in %d of them: live heap of %d bytes an instance, "+
		"RSS of %d bytes a connection and %d MiB in all, %d goroutines",
		all, took.Round(time.Millisecond), all/p.instances, p.instances, all%p.instances,
		made.Each+(after.Heap-before.Heap)/int64(p.instances),
		(after.Resident-before.Resident)/int64(all), after.Resident>>20, after.Goroutines)
}

// in returns how many clients are in an instance.
func (p *instanceMeter) in(instance int) int {
	n := len(p.fleet.clients) / p.instances
	if instance < len(p.fleet.clients)%p.instances {
		n++
	}
	return n
}

// without runs a phase without faults, and returns the 99th percentile of the times from
// sending a message to its arrival.
func (p *instanceMeter) without() time.Duration {
	p.t.Helper()
	publishers := min(instancePublishers, p.instances)
	p.sent, p.latencies = make([]time.Time, p.instances), p.latencies[:0]
	expected := 0
	for range instanceWaves {
		for i := range publishers {
			expected += p.in(i)
			c := p.fleet.clients[i]
			p.sent[i] = time.Now()
			c.send(fmt.Sprintf(`["j%d","m","%s","shout",{"to":%d}]`, i, p.fleet.topic, i))
		}
		p.fleet.until("a wave has arrived", func() bool { return len(p.latencies) == expected })
	}
	slices.Sort(p.latencies)
	return p.latencies[len(p.latencies)*99/100]
}

// with runs a phase while fifty instances crash.
func (p *instanceMeter) with() time.Duration {
	p.t.Helper()
	p.server.get("/faults")
	p99 := p.without()
	var crashes int64
	if err := json.Unmarshal(p.server.get("/calm"), &crashes); err != nil {
		p.t.Fatal(err)
	}
	if crashes < faultyInstances {
		p.t.Errorf("only %d crashes in %d instances", crashes, faultyInstances)
	}
	p.crashes += crashes
	return p99
}

// compare runs phases in turns and compares the medians of their p99.
func (p *instanceMeter) compare() {
	p.t.Helper()
	p.t.Logf("%d phases with faults and as many without, each of %d waves of messages: half a minute", instanceRounds, instanceWaves)
	p.without() // warms up
	for try := 1; ; try++ {
		var alone, beside []float64
		for range instanceRounds {
			alone = append(alone, p.without().Seconds()*1000)
			beside = append(beside, p.with().Seconds()*1000)
		}
		ratio := median(beside) / median(alone)
		p.t.Logf("p99 with faults in fifty to p99 without: %.2f, at most %.1f (%.1f and %.1f ms, %d crashes)", ratio, instanceRatio, beside, alone, p.crashes)
		if ratio <= instanceRatio {
			return
		}
		if try == instanceTries {
			p.t.Errorf("want at most %.2f", instanceRatio)
			return
		}
	}
}

func (p *instanceMeter) handle(c *client, m message) {
	if m.event == "phx_reply" {
		return
	}
	to := c.index % p.instances
	if m.event != "shout" || string(m.payload) != fmt.Sprintf(`{"to":%d}`, to) {
		p.fleet.fail(c, "a client of instance %d got %v", to, m)
		return
	}
	p.latencies = append(p.latencies, time.Since(p.sent[to]))
}
