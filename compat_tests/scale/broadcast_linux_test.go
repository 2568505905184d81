package scale

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/internal/race"
)

const (
	// maxGoroutines is what a server may run however many clients it has: the
	// loops, the runtime's, net/http's for the request that asks.
	maxGoroutines = 50
	// maxHeap is what a joined connection may cost in live heap, in bytes,
	// maxPresenceHeap what it may cost with a presence. Both are half as much
	// again as was measured, and far from what a goroutine's stack would take.
	maxHeap         = 1000
	maxPresenceHeap = 2000
	// maxResident is the same for the process, whose heap grows to twice what
	// is live; residue is what the storm of joins leaves besides.
	maxResident = 4 << 10
	residue     = 32 << 20
	// publishers push messagesEach messages, all at once.
	publishers   = 5
	messagesEach = 10
)

// shout is the payload of a broadcast. Numbers begin with 1.
type shout struct {
	From   int    `json:"from"`
	Number int    `json:"number"`
	Body   string `json:"body"`
}

// TestScaleBroadcast has ten thousand clients on one topic: what they cost, and
// that each gets every message once and each publisher's in their order.
func TestScaleBroadcast(t *testing.T) {
	n := clients(t, 10_000, 1_500)
	server := startServer(t, settings{})
	before := server.usage()
	f := newFleet(t, server.addr, plainTopic, n)
	shouts := countShouts(f)

	begun := time.Now()
	f.join(func(int) string { return `{}` })
	joinTime := time.Since(begun)
	after := server.usage()
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
	f.beat(f.clients) // nothing comes twice
	checkPublishers(f, shouts())

	f.drop(f.clients)
	server.await("no sockets, channels or connections but the one that asks", func(u usage) bool {
		return u.Stats.Sockets == 0 && u.Stats.Channels == 0 && u.Descriptors <= before.Descriptors
	})
	server.terminate()
	server.awaitExit()
	t.Logf("%d connections on one topic: joined in %v, %d goroutines (%d without), heap %d and RSS %d bytes per connection, "+
		"a broadcast reached all in %v, %d more in %v (%.0f deliveries/s)", n, joinTime.Round(time.Millisecond),
		after.Goroutines, before.Goroutines, heap, resident, first.Round(100*time.Microsecond),
		publishers*messagesEach, rest.Round(time.Millisecond), float64(n*publishers*messagesEach)/rest.Seconds())
}

// perConnection checks what the joined connections cost and returns it.
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
	// The race detector's shadow memory and the profiler's records are not the server's.
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

// shout broadcasts.
func (c *client) shout(number int) {
	c.send(fmt.Sprintf(`["j%d","m%d","%s","shout",{"from":%d,"number":%d,"body":"a line of a chat, as long as they mostly are"}]`,
		c.index, number, c.fleet.topic, c.index, number))
}

// countShouts checks the order of what arrives and returns the count of it.
func countShouts(f *fleet) func() int {
	total := 0
	known := make(map[string]shout) // by the payload: all clients get the same
	for _, c := range f.clients {
		c.seen = make([]int, 1+publishers)
	}
	f.onMessage = func(c *client, m message) {
		if m.event == "phx_reply" {
			c.acked++
			// Its own message is before the reply: both leave in the order of the callback.
			if c.seen[c.index] != c.acked || m.ref != fmt.Sprintf("m%d", c.acked) || string(m.payload) != okReply {
				f.fail(c, "reply %d is %v, and its own message %d was the last", c.acked, m, c.seen[c.index])
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

// checkPublishers checks the totals: with the order that each client has
// seen, every one got everything exactly once.
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
