package cluster

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/internal/hubtest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
	"github.com/mycelium-rt/mycelium/pubsub"
	"github.com/mycelium-rt/mycelium/pubsub/pubsubtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func startNode(t *testing.T, h *hubtest.Hub[LogID], name string, o Options) *Node {
	t.Helper()
	o.Name = name
	n, err := Start(h.Port(), SystemClock(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

var wait = waittest.For

// TestBus runs the suite of buses over two nodes.
func TestBus(t *testing.T) {
	pubsubtest.Run(t, func(t *testing.T) (a, b pubsub.Bus) {
		h := hubtest.New[LogID]()
		nodeA, nodeB := startNode(t, h, "a", Options{}), startNode(t, h, "b", Options{})
		wait(t, "the nodes know each other", func() bool {
			return len(nodeA.Stats().Peers) == 1 && len(nodeB.Stats().Peers) == 1
		})
		return nodeA.Bus("space"), nodeB.Bus("space")
	})
}

// TestSpaces: what is published in a space does not reach another.
func TestSpaces(t *testing.T) {
	h := hubtest.New[LogID]()
	a, b := startNode(t, h, "a", Options{}), startNode(t, h, "b", Options{})
	var mu sync.Mutex
	var got []string
	open := func(n *Node, space string) pubsub.Bus {
		bus := n.Bus(space)
		err := bus.Open(func(topic string, data []byte) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, fmt.Sprintf("%s %s %s", space, topic, data))
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { bus.Close() })
		bus.Interest("topic", true)
		return bus
	}
	oneA, twoA := open(a, "one"), open(a, "two")
	open(b, "one")
	open(b, "two")
	wait(t, "the nodes know each other", func() bool { return len(a.Stats().Peers) == 1 && len(b.Stats().Peers) == 1 })
	large := strings.Repeat("x", 200_000) // in fragments
	for _, p := range []struct {
		bus  pubsub.Bus
		text string
	}{{oneA, "1"}, {twoA, "2"}, {oneA, large}, {oneA, "3"}} {
		if err := p.bus.Publish("topic", []byte(p.text)); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"one topic 1", "two topic 2", "one topic " + large, "one topic 3"}
	wait(t, "all messages", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) >= len(want)
	})
	mu.Lock()
	defer mu.Unlock()
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("message %d: %.40q, want %.40q", i, got[i], want[i])
		}
	}
}

// stuck is a transport that takes nothing.
type stuck struct{ *hubtest.Port[LogID] }

func (stuck) ToAll([]byte) error { return errors.New("stuck") }

// TestBusy: a node that cannot send refuses what is more than it may keep, but
// never a change of state.
func TestBusy(t *testing.T) {
	h := hubtest.New[LogID]()
	n, err := Start(stuck{h.Port()}, SystemClock(), Options{Name: "a", Limits: Limits{Keep: 1000}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	body := make([]byte, 99)
	for i := range 10 {
		if number, err := n.Append(TypeBroadcast, body); err != nil || number != uint64(i+1) {
			t.Fatalf("entry %d: %d, %v", i+1, number, err)
		}
	}
	if _, err := n.Append(TypeBroadcast, body); !errors.Is(err, ErrBusy) {
		t.Errorf("above the limit: %v", err)
	}
	if number, err := n.AppendState(TypeJoin, body); err != nil || number != 11 {
		t.Errorf("a change of state: %d, %v", number, err)
	}
	if _, err := n.AppendState(TypeJoin, make([]byte, maxEntry)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an entry of more than 64 MiB: %v", err)
	}
	if s := n.Stats(); s.Busy != 1 || s.Waiting != 1100 {
		t.Errorf("%+v", s)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if _, err := n.Append(TypeBroadcast, body); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestBusesOfOneSpace: an endpoint that takes the place of another opens its bus first.
func TestBusesOfOneSpace(t *testing.T) {
	h := hubtest.New[LogID]()
	a, b := startNode(t, h, "a", Options{}), startNode(t, h, "b", Options{})
	wait(t, "the nodes know each other", func() bool { return len(a.Stats().Peers) == 1 && len(b.Stats().Peers) == 1 })
	from := a.Bus("space")
	if err := from.Open(func(string, []byte) {}); err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	var got [2]atomic.Int64
	var buses [2]pubsub.Bus
	for i := range buses {
		buses[i] = b.Bus("space")
		if err := buses[i].Open(func(string, []byte) { got[i].Add(1) }); err != nil {
			t.Fatal(err)
		}
		defer buses[i].Close()
		buses[i].Interest("topic", true)
	}
	if err := from.Publish("topic", nil); err != nil {
		t.Fatal(err)
	}
	wait(t, "both get it", func() bool { return got[0].Load() == 1 && got[1].Load() == 1 })
	buses[0].Close()
	if err := from.Publish("topic", nil); err != nil {
		t.Fatal(err)
	}
	wait(t, "the other one gets it", func() bool { return got[1].Load() == 2 })
	if n := got[0].Load(); n != 1 {
		t.Errorf("a bus that is closed has got %d messages", n)
	}
}

// TestName: a node needs one.
func TestName(t *testing.T) {
	if _, err := Start(hubtest.New[LogID]().Port(), SystemClock(), Options{}); err == nil {
		t.Error("a node without a name was started")
	}
}

// TestManyAppend appends from many goroutines while nodes come and go: under the
// race detector, and nothing is left.
func TestManyAppend(t *testing.T) {
	h := hubtest.New[LogID]()
	const publishers, each = 8, 2000
	a, b := startNode(t, h, "a", Options{}), startNode(t, h, "b", Options{})
	wait(t, "the nodes know each other", func() bool { return len(a.Stats().Peers) == 1 && len(b.Stats().Peers) == 1 })
	var mu sync.Mutex
	last, count := map[string]int{}, 0
	receiver := b.Bus("")
	if err := receiver.Open(func(topic string, data []byte) {
		mu.Lock()
		defer mu.Unlock()
		var n int
		fmt.Sscan(string(data), &n)
		if n != last[topic]+1 {
			t.Errorf("%s: %d after %d", topic, n, last[topic])
		}
		last[topic] = n
		count++
	}); err != nil {
		t.Fatal(err)
	}
	sender := a.Bus("")
	if err := sender.Open(func(string, []byte) {}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for p := range publishers {
		topic := fmt.Sprint("topic", p)
		receiver.Interest(topic, true)
		all.Go(func() {
			for i := range each {
				if err := sender.Publish(topic, fmt.Append(nil, i+1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 5 {
		n := startNode(t, h, fmt.Sprint("guest", i), Options{})
		n.Close()
	}
	all.Wait()
	wait(t, "all messages", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return count == publishers*each
	})
	receiver.Close()
	sender.Close()
}
