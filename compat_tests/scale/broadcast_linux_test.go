package scale

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/race"
)

const (
	// maxGoroutines bounds the goroutines of a server with any number of clients: those of
	// the loops, of the runtime, and of net/http for the test's request.
	maxGoroutines = 50
	// maxHeap bounds the live heap of a joined connection, in bytes, and maxPresenceHeap
	// that of one with a presence. Both are half as much again as was measured, and much
	// less than the stack of a goroutine.
	maxHeap         = 1000
	maxPresenceHeap = 2000
	// maxResident is the same for resident memory, since the heap grows to twice what is
	// live. residue is what the storm of joins leaves in addition.
	maxResident = 4 << 10
	residue     = 32 << 20
	// publishers push messagesEach messages, all at once.
	publishers   = 5
	messagesEach = 10
)

// shout is the payload of a broadcast. Numbers start at 1.
type shout struct {
	From   int    `json:"from"`
	Number int    `json:"number"`
	Body   string `json:"body"`
}

// TestScaleBroadcast measures what ten thousand clients on one topic cost, and checks that
// each gets every message once, and those of a publisher in order.
func TestScaleBroadcast(t *testing.T) {
	n := clients(t, 10_000, 1_500)
	server := startServer(t, settings{})
	before := server.usage()
	f := newFleet(t, server.addr, plainTopic, n)
	shouts := countShouts(f)

	begun := time.Now()
	f.join(func(int) string { return `{}` })
	joinTime := time.Since(begun)
	after := server.await("no goroutines but the server's own", func(u usage) bool { return u.Goroutines <= before.Goroutines+5 })
	server.writeHeapProfile()
	heap, resident := perConnection(t, before, after, n, maxHeap)

	f.clients[0].shout(1)
	begun = time.Now()
	f.until("the first message has reached all", func() bool { return shouts() == n })
	first := time.Since(begun)

	for number := range messagesEach {
		for p := 1; p <= publishers; p++ {
			f.clients[p].shout(1 + number)
		}
	}
	begun = time.Now()
	f.until("all messages have reached all", func() bool { return shouts() == n*(1+publishers*messagesEach) })
	rest := time.Since(begun)
	f.beat(f.clients) // nothing arrives twice
	checkPublishers(f, shouts())

	f.drop(f.clients)
	server.await("only the connection of the test's request", func(u usage) bool {
		return u.Stats.Sockets == 0 && u.Stats.Channels == 0 && u.Descriptors <= before.Descriptors
	})
	server.terminate()
	server.awaitExit()
	t.Logf("%d connections on one topic: joined in %v, %d goroutines (%d without), heap %d and RSS %d bytes per connection, "+
		"a broadcast reached all in %v, %d more in %v (%.0f deliveries/s)", n, joinTime.Round(time.Millisecond),
		after.Goroutines, before.Goroutines, heap, resident, first.Round(100*time.Microsecond),
		publishers*messagesEach, rest.Round(time.Millisecond), float64(n*publishers*messagesEach)/rest.Seconds())
}

// perConnection checks and returns what the joined connections cost.
func perConnection(t *testing.T, before, after usage, n int, maxHeap int64) (heap, resident int64) {
	t.Helper()
	if s := after.Stats; s.Sockets != int64(n) || s.Channels != int64(n) {
		t.Errorf("the server counts %d sockets and %d channels, want %d", s.Sockets, s.Channels, n)
	}
	if after.Goroutines >= maxGoroutines || after.Goroutines > before.Goroutines+5 {
		t.Errorf("%d goroutines with %d connections, %d without", after.Goroutines, n, before.Goroutines)
	}
	heap = (after.Heap - before.Heap) / int64(n)
	resident = (after.Resident - before.Resident) / int64(n)
	// The race detector and the profiler use memory of their own.
	if race.Enabled || *heapFile != "" {
		return heap, resident
	}
	if heap > maxHeap {
		t.Errorf("live heap of %d bytes per connection, want at most %d", heap, maxHeap)
	}
	if grown := after.Resident - before.Resident; grown > residue+maxResident*int64(n) {
		t.Errorf("RSS has grown by %d bytes with %d connections, want at most %d and %d each", grown, n, residue, maxResident)
	}
	return heap, resident
}

// shout broadcasts a message.
func (c *client) shout(number int) {
	c.send(fmt.Sprintf(`["j%d","m%d","%s","shout",{"from":%d,"number":%d,"body":"a line of a chat, as long as they mostly are"}]`,
		c.index, number, c.fleet.topic, c.index, number))
}

// countShouts checks the order of messages that arrive, and returns how many did.
func countShouts(f *fleet) func() int {
	total := 0
	known := make(map[string]shout) // by the payload: all clients get the same
	for _, c := range f.clients {
		c.seen = make([]int, 1+publishers)
	}
	f.onMessage = func(c *client, m message) {
		if m.event == "phx_reply" {
			c.acked++
			// A client's own message comes before the reply, in the order of the callback.
			if c.seen[c.index] != c.acked || m.ref != fmt.Sprintf("m%d", c.acked) || string(m.payload) != okReply {
				f.fail(c, "reply %d is %v after its own message %d", c.acked, m, c.seen[c.index])
			}
			return
		}
		s, ok := known[string(m.payload)]
		if !ok {
			if err := json.Unmarshal(m.payload, &s); err != nil || s.From < 0 || s.From > publishers {
				f.fail(c, "broadcast with payload %q: %v", m.payload, err)
				return
			}
			known[string(m.payload)] = s
		}
		if m.event != "shout" || m.joinRef != "" || m.ref != "" {
			f.fail(c, "broadcast is %v", m)
		}
		if s.Number != c.seen[s.From]+1 {
			f.fail(c, "message %d of publisher %d after %d", s.Number, s.From, c.seen[s.From])
		}
		c.seen[s.From] = s.Number
		total++
	}
	return func() int { return total }
}

// checkPublishers checks the totals. Together with the order that each client saw, they
// show that everybody got every message exactly once.
func checkPublishers(f *fleet, total int) {
	f.t.Helper()
	if want := len(f.clients) * (1 + publishers*messagesEach); total != want {
		f.t.Errorf("%d deliveries, want %d", total, want)
	}
	for _, c := range f.clients[:1+publishers] {
		want := messagesEach
		if c.index == 0 {
			want = 1
		}
		if c.acked != want {
			f.t.Errorf("publisher %d got %d replies, want %d", c.index, c.acked, want)
		}
	}
}
