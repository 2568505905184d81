package scale

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"testing"
	"time"
)

// TestScaleCrowd has as many clients as a process can hold in the presence of one topic,
// once with diffs gathered in a window and once without diffs. Everybody who joins gets
// the list of all, so half of n² entries must be sent in any case, and as many again in
// diffs.
func TestScaleCrowd(t *testing.T) {
	needsFull(t)
	for _, topic := range []string{relayTopic, quietTopic} {
		t.Run(topic, func(t *testing.T) { testCrowd(t, topic, affordable(t, *crowdSize)) })
	}
}

func testCrowd(t *testing.T, topic string, n int) {
	server := startServer(t, settings{Window: crowdWindow, IdleTimeout: time.Hour})
	before := server.usage()
	f := newFleet(t, server.addr, topic, n)
	f.patience = 5 * time.Minute // for 20 GB
	crowd := newCrowd(f)
	diffs := topic != quietTopic
	t.Logf("%d clients join one presence: half a minute or more", n)

	begun := time.Now()
	user := func(i int) string { return fmt.Sprintf(`{"user":"u%d"}`, i) }
	f.join(user)
	f.until("all have their list", func() bool { return crowd.states == n })
	joinTime := time.Since(begun)
	if diffs {
		f.until("everybody sees everybody", func() bool { return crowd.known == n*n })
	}
	seenTime := time.Since(begun)
	f.beat(f.clients) // nothing more arrives
	if diffs {
		crowd.checkSame()
	} else {
		crowd.checkQuiet()
	}
	sent := server.usage()
	heap, resident := perConnection(t, before, sent, n, maxPresenceHeap)

	shouts := 0
	f.onMessage = func(c *client, m message) {
		if m.event == "shout" {
			shouts++
		} else if m.event != "phx_reply" {
			f.fail(c, "unexpected: %v", m)
		}
	}
	begun = time.Now()
	f.clients[0].shout(1)
	f.until("the message has reached all", func() bool { return shouts == n })
	first := time.Since(begun)
	// The clients do not leave: the server would tell those that stay about all others,
	// faster than one process of clients can read, and cut them off.
	f.drop(f.clients)
	server.await("no sockets and channels", func(u usage) bool { return u.Stats.Sockets == 0 && u.Stats.Channels == 0 })
	server.terminate()
	server.awaitExit()
	bytesOut := sent.Stats.Network.BytesOut - before.Stats.Network.BytesOut
	t.Logf("%d connections in one presence of %s: all have their list after %v, all see all after %v, by %d diffs each at most, "+
		"%.1f GB sent, %.0f MB/s; heap %d and RSS %d bytes per connection; a broadcast reached all in %v",
		n, topic, joinTime.Round(time.Millisecond), seenTime.Round(time.Millisecond), crowd.diffs,
		float64(bytesOut)/1e9, float64(bytesOut)/1e6/seenTime.Seconds(), heap, resident, first.Round(time.Millisecond))
}

// crowdWindow gathers the diffs of a crowd. A list for people need not change more often.
const crowdWindow = time.Second

// crowd is what the clients of a large fleet know of each other, as a sum over the entries
// of each list. Lists of 19,000 clients would not fit into memory. Equal sums almost
// certainly mean equal lists.
type crowd struct {
	fleet  *fleet
	seed   maphash.Seed
	lists  []sum             // by client
	has    []bool            // by client: whether the presence_state has arrived
	seen   map[uint64]sum    // presence_states, by their hash
	deltas map[uint64]change // presence_diffs, likewise
	states int
	counts []int // diffs, by client
	diffs  int   // the most that one client got
	known  int   // entries, of all clients together
}

// sum is a sum of entries. The text of an entry has its key and phx_ref.
type sum struct {
	entries int
	hash    uint64 // the sum of all entries' hashes
}

type change struct{ joins, leaves sum }

// newCrowd starts keeping the lists of f's clients.
func newCrowd(f *fleet) *crowd {
	n := len(f.clients)
	w := &crowd{
		fleet: f, seed: maphash.MakeSeed(), lists: make([]sum, n), has: make([]bool, n),
		counts: make([]int, n), seen: make(map[uint64]sum), deltas: make(map[uint64]change),
	}
	f.onMessage = w.handle
	return w
}

func (w *crowd) handle(c *client, m message) {
	key := maphash.Bytes(w.seed, m.payload)
	switch {
	case m.event == "presence_state" && !w.has[c.index] && m.joinRef != "" && m.ref == "":
		s, ok := w.seen[key]
		if !ok {
			s = w.sum(c, m.payload)
			w.seen[key] = s
		}
		w.states++
		w.has[c.index] = true
		w.lists[c.index] = s
		w.known += s.entries
	case m.event == "presence_diff" && m.joinRef != "" && m.ref == "" && w.has[c.index]: // more of a large state
		w.apply(c, w.changeOf(c, key, m.payload))
	case m.event == "presence_diff" && m.joinRef == "" && m.ref == "":
		d := w.changeOf(c, key, m.payload)
		w.counts[c.index]++
		w.diffs = max(w.diffs, w.counts[c.index])
		if w.has[c.index] { // the state includes earlier diffs
			w.apply(c, d)
		}
	default:
		w.fleet.fail(c, "unexpected: %v", m)
	}
}

func (w *crowd) apply(c *client, d change) {
	list := &w.lists[c.index]
	list.entries += d.joins.entries - d.leaves.entries
	list.hash += d.joins.hash - d.leaves.hash
	w.known += d.joins.entries - d.leaves.entries
}

// changeOf returns the change of a presence_diff with the hash key.
func (w *crowd) changeOf(c *client, key uint64, payload []byte) change {
	d, ok := w.deltas[key]
	if !ok {
		d = w.change(c, payload)
		w.deltas[key] = d
	}
	return d
}

// change sums up the joins and leaves of a presence_diff.
func (w *crowd) change(c *client, payload []byte) change {
	rest, ok := bytes.CutPrefix(payload, []byte(`{"joins":`))
	joins, leaves, both := bytes.Cut(rest, []byte(`,"leaves":`))
	leaves, whole := bytes.CutSuffix(leaves, []byte("}"))
	if !ok || !both || !whole {
		w.fleet.fail(c, "not a presence_diff: %.200q", payload)
	}
	return change{w.sum(c, joins), w.sum(c, leaves)}
}

// sum sums up the entries of a JSON object. All have the form
// "u1":{"metas":[{"phx_ref":"…"}]}. encoding/json would take an hour.
func (w *crowd) sum(c *client, object []byte) (s sum) {
	rest := object[1 : len(object)-1]
	for len(rest) > 0 {
		end := bytes.IndexByte(rest, ']') + 2
		if end < 2 || end > len(rest) || !bytes.HasPrefix(rest, []byte(`"u`)) || rest[end-1] != '}' ||
			bytes.Count(rest[:end], []byte(`"phx_ref":"`)) != 1 {
			w.fleet.fail(c, "not an entry with one presence: %.200q", rest)
			return s
		}
		s.entries++
		s.hash += maphash.Bytes(w.seed, rest[:end])
		rest = bytes.TrimPrefix(rest[end:], []byte(","))
	}
	return s
}

// checkSame checks that all lists are the same, with n entries.
func (w *crowd) checkSame() {
	w.fleet.t.Helper()
	for i, list := range w.lists {
		if list != w.lists[0] || list.entries != len(w.lists) {
			w.fleet.t.Fatalf("client %d has the list %v, client 0 has %v, of %d", i, list, w.lists[0], len(w.lists))
		}
	}
}

// checkQuiet checks that there are no diffs, and that a client that joins after a quiet
// window gets the complete list.
func (w *crowd) checkQuiet() {
	f := w.fleet
	f.t.Helper()
	if w.diffs > 0 {
		f.t.Errorf("%d diffs although they are off", w.diffs)
	}
	c := f.clients[0]
	f.drop([]*client{c})
	f.closed, f.joined = f.closed-1, f.joined-1
	time.Sleep(2 * crowdWindow)
	w.has[0], c.state, c.in = false, connecting, nil
	c.connect(`{"user":"u0"}`)
	f.until("the last one has the whole list", func() bool { return w.has[0] && w.lists[0].entries >= len(f.clients) })
	if got := w.lists[0].entries; got != len(f.clients) {
		f.t.Errorf("the last client sees %d, want %d", got, len(f.clients))
	}
}
