package histories

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/cluster"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/hubtest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a node with a store, and the messages that its clients get.
type server struct {
	port  *hubtest.Port[cluster.LogID]
	node  *cluster.Node
	store *history.Store
	space *history.Space

	mu  sync.Mutex
	got map[string]int // guarded by mu: how often a payload was received
}

func (s *server) Receive(_ string, m *history.Message, _ bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got[string(m.Payload)]++
}

func (s *server) Mark(string, history.Position) {}

func (s *server) Lost([]string, history.Reason) {}

func start(t *testing.T, h *hubtest.Hub[cluster.LogID], name string, l cluster.Limits) *server {
	t.Helper()
	s := &server{port: h.Port(), store: history.NewStore(history.Options{}), got: make(map[string]int)}
	k := New(s.store)
	var err error
	s.node, err = cluster.Start(s.port, cluster.SystemClock(), cluster.Options{Name: name, ID: k.Log(), Kinds: k.Types(), Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	k.Start(s.node)
	s.space = s.store.Open("")
	if err := s.space.Share(); err != nil {
		t.Fatal(err)
	}
	if err := s.space.SetRules([]history.Rule{{Messages: 100_000, Bytes: 64 << 20, Age: time.Hour}}); err != nil {
		t.Fatal(err)
	}
	s.space.Attach(s)
	t.Cleanup(func() {
		if err := s.node.Close(); err != nil {
			t.Error(err)
		}
		s.store.Close()
	})
	return s
}

func (s *server) say(t *testing.T, topic string, from, to int) {
	t.Helper()
	for i := from; i < to; {
		err := s.space.Record(topic, &history.Message{Event: "msg", Payload: fmt.Appendf(nil, "%s %d", topic, i)}, func(bool) {})
		switch {
		case err == nil:
			i++
		case errors.Is(err, cluster.ErrBusy):
			time.Sleep(time.Millisecond)
		default:
			t.Fatal(err)
		}
	}
}

// has waits until a node has so many messages of a topic.
func (s *server) has(t *testing.T, topic string, n int) {
	t.Helper()
	waittest.For(t, fmt.Sprintf("%s has %d messages", topic, n), func() bool { return len(s.space.Page(topic, history.Ask{}).Messages) == n })
}

// TestNodes: every node has what the others have recorded. One that was cut off for longer
// than entries are kept still gets their messages, and so do its clients, each once. One that
// starts gets everything, including what a node that has ended had recorded.
func TestNodes(t *testing.T) {
	h := hubtest.New[cluster.LogID]()
	small := cluster.Limits{Keep: 64 << 10}
	a, b := start(t, h, "a", small), start(t, h, "b", small)
	waittest.For(t, "they know each other", func() bool { return len(a.node.Stats().Peers) == 1 && len(b.node.Stats().Peers) == 1 })
	a.say(t, "x", 0, 100)
	b.say(t, "y", 0, 100)
	b.has(t, "x", 100)
	a.has(t, "y", 100)

	b.port.SetDeaf(true)
	a.say(t, "x", 100, 5_000) // more than is kept for resending
	waittest.For(t, "all is sent", func() bool { return a.node.Stats().Waiting == 0 })
	b.port.SetDeaf(false)
	a.say(t, "x", 5_000, 5_001)
	b.has(t, "x", 5_001)
	b.mu.Lock()
	for i := range 5_001 {
		if n := b.got[fmt.Sprintf("x %d", i)]; n != 1 {
			t.Fatalf("b's clients got message %d %d times", i, n)
		}
	}
	b.mu.Unlock()

	if _, err := b.space.Delete("y"); err != nil {
		t.Fatal(err)
	}
	a.has(t, "y", 0)
	b.say(t, "y", 100, 200)
	a.has(t, "y", 100)
	pos := a.space.Page("y", history.Ask{Last: -1}).Next
	if err := a.node.Close(); err != nil {
		t.Fatal(err)
	}
	c := start(t, h, "c", small)
	c.has(t, "x", 5_001)
	c.has(t, "y", 100)
	if p := c.space.Since("y", pos, 0); p.Missing != "" || len(p.Messages) != 0 {
		t.Errorf("a client of the node that has ended: %+v", p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.got) != 0 {
		t.Errorf("c's clients got %d messages that were there before c", len(c.got))
	}
}
