package dispatch_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/internal/dispatch"
	"github.com/mycelium-rt/mycelium/pubsub"
)

func TestControl(t *testing.T) {
	hub := pubsub.NewHub()
	var got [3][]string
	var nodes [3]*dispatch.PubSub
	var queues [3]*queue
	for i := range nodes {
		queues[i] = new(queue)
		nodes[i] = newPubSub(t, dispatch.Options{Bus: hub.Node(), Codec: textCodec{}}, queues[i])
		nodes[i].OnControl(func(data []byte) { got[i] = append(got[i], string(data)) })
	}
	if err := nodes[0].SendControl([]byte("a")); err != nil {
		t.Fatal(err)
	}
	if err := nodes[2].SendControl([]byte("b")); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"b"}, {"a", "b"}, {"a"}} {
		if !slices.Equal(got[i], want) {
			t.Errorf("node %d was sent %q, want %q", i, got[i], want)
		}
	}

	// A topic of the same name is any topic, but stays on its node.
	const name = "mycelium:control"
	var here, there client
	nodes[0].Subscribe(0, name, &here)
	nodes[1].Subscribe(0, name, &there)
	if err := nodes[0].Broadcast(name, newMessage("forged"), nil); err != nil {
		t.Fatal(err)
	}
	for _, q := range queues {
		q.run(10)
	}
	if !slices.Equal(here.got, []string{"forged"}) || len(there.got) != 0 {
		t.Errorf("the topic: %q here and %q on another node", here.got, there.got)
	}
	nodes[1].Unsubscribe(0, &there) // must not end the node's interest in control
	if err := nodes[0].SendControl([]byte("c")); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(got[1], want) {
		t.Errorf("control messages: %q, want %q", got[1], want)
	}
}

func TestControlWithoutBus(t *testing.T) {
	p := newPubSub(t, dispatch.Options{}, new(queue))
	p.OnControl(func([]byte) { t.Error("called") })
	if err := p.SendControl([]byte("a")); err != nil {
		t.Error(err)
	}
	p.Close()
	if err := p.SendControl([]byte("a")); !errors.Is(err, pubsub.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// brokenBus panics wherever it can.
type brokenBus struct{}

func (brokenBus) Open(func(string, []byte)) error { return nil }
func (brokenBus) Publish(string, []byte) error    { panic("in Publish") }
func (brokenBus) Interest(string, bool)           { panic("in Interest") }
func (brokenBus) Close() error                    { panic("in Close") }

// What a bus does wrong is an error of this node's broadcasts, which reach its own subscribers all the same.
func TestBusPanics(t *testing.T) {
	var reported []string
	q := new(queue)
	p, err := dispatch.New([]dispatch.Executor{q}, keep{}, dispatch.Options{
		Bus: brokenBus{}, Codec: textCodec{}, OnError: func(err error) { reported = append(reported, err.Error()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	var c client
	p.Subscribe(0, "a", &c)
	if err := p.Broadcast("a", newMessage("m"), nil); err == nil || !strings.Contains(err.Error(), "in Publish") {
		t.Errorf("broadcast: %v", err)
	}
	q.run(10)
	if !slices.Equal(c.got, []string{"m"}) {
		t.Errorf("a subscriber of this node got %q", c.got)
	}
	p.Unsubscribe(0, &c)
	if len(reported) != 2 || !strings.Contains(reported[0], "in Interest") {
		t.Errorf("reported: %q", reported)
	}
	if err := p.Close(); err == nil || !strings.Contains(err.Error(), "in Close") {
		t.Errorf("close: %v", err)
	}
}
