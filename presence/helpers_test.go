package presence

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/prepared"
)

// event is one message as a client gets it.
type event struct {
	name    string
	payload string
}

// node is a Broadcaster: it puts what is broadcast into the inbox of each channel that is subscribed.
type node struct {
	mu       sync.Mutex
	channels map[*channel]bool // guarded by mu
	diffs    []string          // all payloads of presence_diff, guarded by mu
	err      error             // for BroadcastLocal to return
}

func newNode() *node { return &node{channels: make(map[*channel]bool)} }

func (n *node) BroadcastLocal(topic, name string, diff any) error {
	payload := diff.(*prepared.Diff).JSON
	n.mu.Lock()
	defer n.mu.Unlock()
	n.diffs = append(n.diffs, string(payload))
	for c := range n.channels {
		if c.topic == topic {
			c.inbox = append(c.inbox, event{name, string(payload)})
		}
	}
	return n.err
}

// join returns a new channel that is subscribed to topic.
func (n *node) join(topic string) *channel {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := &channel{node: n, topic: topic}
	n.channels[c] = true
	return c
}

// takeDiffs returns the diffs broadcast since the last call.
func (n *node) takeDiffs() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	diffs := n.diffs
	n.diffs = nil
	return diffs
}

// channel is a Channel whose client's messages wait in an inbox.
type channel struct {
	node  *node
	topic string
	inbox []event // guarded by node.mu

	mu    sync.Mutex
	ended bool     // guarded by mu
	onEnd []func() // guarded by mu
}

var errEnded = errors.New("channel has ended")

func (c *channel) Topic() string { return c.topic }

func (c *channel) Push(name string, payload any) error {
	c.node.mu.Lock()
	defer c.node.mu.Unlock()
	if !c.node.channels[c] {
		return errEnded
	}
	for _, m := range payload.(*prepared.State).Series {
		c.inbox = append(c.inbox, event{m.Event, string(m.AppendPayload(nil))})
	}
	return nil
}

func (c *channel) OnEnd(f func()) {
	c.mu.Lock()
	ended := c.ended
	if !ended {
		c.onEnd = append(c.onEnd, f)
	}
	c.mu.Unlock()
	if ended {
		f()
	}
}

// end ends the channel as a crash, a leave or a lost socket does.
func (c *channel) end() {
	c.node.mu.Lock()
	delete(c.node.channels, c)
	c.node.mu.Unlock()
	c.mu.Lock()
	c.ended = true
	run := c.onEnd
	c.onEnd = nil
	c.mu.Unlock()
	for _, f := range run {
		f()
	}
}

// take returns what has come since the last call.
func (c *channel) take() []event {
	c.node.mu.Lock()
	defer c.node.mu.Unlock()
	inbox := c.inbox
	c.inbox = nil
	return inbox
}

func newTracker(t testing.TB, b Broadcaster, o Options) *Tracker {
	tr := New(b, o)
	t.Cleanup(tr.Close)
	return tr
}

func track(t testing.TB, tr *Tracker, c Channel, key string, meta any) string {
	t.Helper()
	ref, err := tr.Track(c, key, meta)
	if err != nil {
		t.Fatalf("track %q: %v", key, err)
	}
	return ref
}

func update(t testing.TB, tr *Tracker, c Channel, key string, meta any) string {
	t.Helper()
	ref, err := tr.Update(c, key, meta)
	if err != nil {
		t.Fatalf("update %q: %v", key, err)
	}
	return ref
}

func wantDiffs(t testing.TB, n *node, want ...string) {
	t.Helper()
	if got := n.takeDiffs(); !slices.Equal(got, want) {
		t.Fatalf("diffs\n got %q\nwant %q", got, want)
	}
}

// shape is a state as keys with the metas' JSON in order.
func shape(list map[string]Entry) map[string][]string {
	s := make(map[string][]string)
	for key, e := range list {
		for _, m := range e.Metas {
			s[key] = append(s[key], string(m.JSON))
		}
	}
	return s
}

func sameShape(a, b map[string][]string) bool { return maps.EqualFunc(a, b, slices.Equal) }

// checkEmpty fails if the tracker keeps anything of topics or channels that are gone.
func checkEmpty(t testing.TB, tr *Tracker) {
	t.Helper()
	if err := leftovers(tr); err != nil {
		t.Error(err)
	}
}

func leftovers(tr *Tracker) error {
	for i := range tr.stripes {
		s := &tr.stripes[i]
		s.mu.Lock()
		topics, owners := len(s.topics), len(s.owners)
		s.mu.Unlock()
		if topics != 0 || owners != 0 {
			return fmt.Errorf("%d topics and %d channels left", topics, owners)
		}
	}
	return nil
}
