package cluster

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// TestTrial stops and kills three nodes in turn while clients publish and come
// back. What is published on a node that lives arrives exactly once and in order at
// every client that stayed; soon afterwards, presence is the same everywhere.
func TestTrial(t *testing.T) {
	needsTrial(t)
	random := newRandom(t)
	nodes := startNodes(t, freePlaces(t, 3))
	// Some ten thousand numbers are delivered in a second, however many clients there are.
	c := startCrowd(t, nodes, *clients, 100, pace{time.Duration(*clients) * time.Second / 3000, 1})
	rounds := 0
	for begun := time.Now(); time.Since(begun) < *duration || rounds < 2; rounds++ {
		n := nodes[rounds%len(nodes)]
		kill := rounds%2 == 1
		time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
		c.countMoves()
		if kill {
			n.signal(syscall.SIGKILL)
		} else {
			n.signal(syscall.SIGTERM)
		}
		n.awaitEnd()
		n.ready.Store(false)
		time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond)
		n.start()
		wait(t, n.name+" is ready again", n.ready.Load)
		c.awaitAll()
		c.checkPresence(time.Now(), 15*time.Second)
		if !kill {
			c.checkMoves()
		}
		c.checkRuns()
		if t.Failed() {
			t.Fatalf("failed in round %d, of %s", rounds, n.name)
		}
	}
	t.Logf("%d rounds with %d clients: %d numbers published, %d delivered, %d joins", rounds, *clients, c.pushed.Load(), c.delivered.Load(), c.rejoined.Load())
}

func newRandom(t *testing.T) *rand.Rand {
	n := *seed
	if n == 0 {
		n = rand.Uint64()
	}
	t.Logf("-seed %d", n)
	return rand.New(rand.NewPCG(n, n))
}
