package cluster

import (
	"flag"
	"testing"
	"time"
)

var long = flag.Bool("long", false, "the cuts of 30 s and 5 minutes too")

// direction is one of a link.
type direction struct{ from, to int }

// TestCuts cuts the network between three nodes in every way. A cut that is shorter than
// nodes keep entries for each other loses nothing. After any cut, presence is the same
// everywhere, and nothing came twice or out of order.
func TestCuts(t *testing.T) {
	needsTrial(t)
	const kept = 8 * time.Second // cluster keeps entries for 10 s; TCP needs a moment
	for _, c := range []struct {
		name string
		cut  []direction
		long time.Duration
	}{
		{"one route", []direction{{0, 1}, {1, 0}}, 5 * time.Second},
		{"a node alone", []direction{{0, 1}, {1, 0}, {0, 2}, {2, 0}}, 5 * time.Second},
		{"one way", []direction{{0, 1}}, 5 * time.Second},
		{"a node alone, for longer", []direction{{0, 1}, {1, 0}, {0, 2}, {2, 0}}, 30 * time.Second},
		{"one way, for longer", []direction{{0, 1}, {0, 2}}, 30 * time.Second},
		{"one route, for longer", []direction{{0, 1}, {1, 0}}, 30 * time.Second},
		{"a node alone, for minutes", []direction{{0, 1}, {1, 0}, {0, 2}, {2, 0}}, 5 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.long > kept && !*long {
				t.Skip("only with -long: make trial")
			}
			w := newNetwork(t, 3)
			nodes := startNodes(t, w.places())
			crowd := startCrowd(t, nodes, 90, 30, pace{50 * time.Millisecond, 1})
			crowd.checkPresence(time.Now(), 15*time.Second)
			crowd.mayMiss.Store(c.long > kept)
			crowd.countMoves()
			for _, d := range c.cut {
				w.cut(d.from, d.to, true)
			}
			time.Sleep(c.long)
			for _, d := range c.cut {
				w.cut(d.from, d.to, false)
			}
			healed := time.Now()
			crowd.checkPresence(healed, 15*time.Second)
			t.Logf("presence is right %s after the cut", time.Since(healed).Round(time.Millisecond))
			crowd.checkMoves()
			crowd.checkRuns()
			t.Logf("%d numbers published, %d delivered, %d gaps", crowd.pushed.Load(), crowd.delivered.Load(), crowd.gaps.Load())
		})
	}
}

// TestBadNetwork: with a round trip of 200 ms and 2% of the packets lost, everything is
// late and nothing is lost.
func TestBadNetwork(t *testing.T) {
	needsTrial(t)
	w := newNetwork(t, 3)
	nodes := startNodes(t, w.places())
	crowd := startCrowd(t, nodes, 90, 30, pace{50 * time.Millisecond, 1})
	crowd.checkPresence(time.Now(), 15*time.Second)
	w.worsen(100*time.Millisecond, 0.02)
	time.Sleep(10 * time.Second)
	crowd.checkRuns()
	crowd.checkMoves()
	crowd.checkPresence(time.Now(), 15*time.Second)
	t.Logf("%d numbers published, %d delivered", crowd.pushed.Load(), crowd.delivered.Load())
}

// TestFlood: a route is cut for 5 s while 10,000 broadcasts a second go over it, and
// nothing is lost.
func TestFlood(t *testing.T) {
	needsTrial(t)
	w := newNetwork(t, 2)
	nodes := startNodes(t, w.places(), "--presence-off=room:*", "--limits-messages-per-second=0")
	// Of four in one room, two on each node, three publish.
	crowd := startCrowd(t, nodes, 4, 4, pace{20 * time.Millisecond, 80})
	time.Sleep(2 * time.Second)
	before, begun := crowd.pushed.Load(), time.Now()
	w.cut(0, 1, true)
	w.cut(1, 0, true)
	time.Sleep(5 * time.Second)
	w.cut(0, 1, false)
	w.cut(1, 0, false)
	rate := float64(crowd.pushed.Load()-before) / time.Since(begun).Seconds()
	crowd.checkRuns()
	t.Logf("%.0f broadcasts a second through the cut; %d in all, %d delivered", rate, crowd.pushed.Load(), crowd.delivered.Load())
	if *long && rate < 10_000 { // else the machine may have other work
		t.Errorf("%.0f broadcasts a second, want 10,000", rate)
	}
	if joins := crowd.rejoined.Load(); joins != 4 {
		t.Errorf("%d joins of 4 clients", joins)
	}
}
