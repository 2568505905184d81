package dispatch_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/mycelium-rt/mycelium/internal/dispatch"
	"github.com/mycelium-rt/mycelium/pubsub"
)

func TestBroadcast(t *testing.T) {
	q := &queue{}
	p := newPubSub(t, dispatch.Options{}, q)
	var ann, bob, carl client
	p.Subscribe(0, "room:1", &ann)
	p.Subscribe(0, "room:1", &bob)
	p.Subscribe(0, "room:2", &carl)
	m := newMessage("hi")
	if err := p.Broadcast("room:1", m, nil); err != nil {
		t.Fatal(err)
	}
	if len(ann.got) != 0 {
		t.Fatal("delivered before its turn")
	}
	if err := p.BroadcastLocal("room:1", newMessage("from ann"), &ann); err != nil {
		t.Fatal(err)
	}
	q.run(10)
	for _, c := range []struct {
		name      string
		got, want []string
	}{
		{"ann", ann.got, []string{"hi"}},
		{"bob", bob.got, []string{"hi", "from ann"}},
		{"carl", carl.got, nil},
	} {
		if !slices.Equal(c.got, c.want) {
			t.Errorf("%s got %q, want %q", c.name, c.got, c.want)
		}
	}
	if n := m.refs.Load(); n != 0 {
		t.Errorf("%d references left", n)
	}
}

func TestSubscription(t *testing.T) {
	q := &queue{}
	p := newPubSub(t, dispatch.Options{}, q)
	var c client
	p.Unsubscribe(0, &c)
	if c.sub.Active() || c.sub.Topic() != "" {
		t.Fatal("active before it subscribed")
	}
	topic := []byte("room:1")
	p.Subscribe(0, string(topic), &c)
	if !c.sub.Active() || c.sub.Topic() != "room:1" || p.Subscribers("room:1") != 1 {
		t.Fatalf("subscribed: %v %q %d", c.sub.Active(), c.sub.Topic(), p.Subscribers("room:1"))
	}
	p.Subscribe(0, "room:2", &c)
	if c.sub.Topic() != "room:2" || p.Subscribers("room:1") != 0 || p.Subscribers("room:2") != 1 {
		t.Fatalf("moved: %q %d %d", c.sub.Topic(), p.Subscribers("room:1"), p.Subscribers("room:2"))
	}
	p.Unsubscribe(0, &c)
	p.Unsubscribe(0, &c)
	if c.sub.Active() || p.Subscribers("room:2") != 0 {
		t.Fatal("still subscribed")
	}
	if topics := maps.Collect(p.Topics()); len(topics) != 0 {
		t.Fatalf("topics left: %v", topics)
	}
}

// TestTopicStringShared: a million subscribers of a topic keep it once, and no caller's buffer is kept.
func TestTopicStringShared(t *testing.T) {
	a, b := &queue{}, &queue{}
	p := newPubSub(t, dispatch.Options{}, a, b)
	clients := make([]client, 4)
	for i := range clients {
		p.Subscribe(i%2, strings.Clone("room:shared"), &clients[i])
	}
	first := unsafe.StringData(clients[0].sub.Topic())
	for i := range clients {
		if unsafe.StringData(clients[i].sub.Topic()) != first {
			t.Errorf("client %d has a copy of its own", i)
		}
	}
}

func TestTopics(t *testing.T) {
	a, b := &queue{}, &queue{}
	p := newPubSub(t, dispatch.Options{}, a, b)
	want := make(map[string]int)
	clients := make([]client, 300)
	for i := range clients {
		topic := fmt.Sprint("t", i%100)
		p.Subscribe(i%2, topic, &clients[i])
		want[topic]++
	}
	if got := maps.Collect(p.Topics()); !maps.Equal(got, want) {
		t.Errorf("topics %v", got)
	}
	for range p.Topics() {
		break // stops early
	}
}

func TestWrongShardPanics(t *testing.T) {
	p := newPubSub(t, dispatch.Options{}, &queue{}, &queue{})
	var c client
	p.Subscribe(0, "x", &c)
	defer func() {
		if r := recover(); r == nil {
			t.Error("no panic")
		}
	}()
	p.Unsubscribe(1, &c)
}

func TestClosedExecutorReleases(t *testing.T) {
	open, closed := &queue{}, &queue{}
	p := newPubSub(t, dispatch.Options{}, open, closed)
	var a, b client
	p.Subscribe(0, "x", &a)
	p.Subscribe(1, "x", &b)
	closed.closed = true
	m := newMessage("m")
	if err := p.Broadcast("x", m, nil); err != nil {
		t.Fatal(err)
	}
	if n := m.refs.Load(); n != 1 {
		t.Errorf("%d references, want the open shard's", n)
	}
	open.run(1)
	if len(a.got) != 1 || len(b.got) != 0 || m.refs.Load() != 0 {
		t.Errorf("a got %q, b %q, %d references", a.got, b.got, m.refs.Load())
	}
}

func TestClose(t *testing.T) {
	q := &queue{}
	p := newPubSub(t, dispatch.Options{Bus: pubsub.NewHub().Node(), Codec: textCodec{}}, q)
	var c client
	p.Subscribe(0, "x", &c)
	if err := p.Broadcast("x", newMessage("before"), nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, send := range []func(string, dispatch.Message, any) error{p.Broadcast, p.BroadcastLocal} {
		m := newMessage("after")
		if err := send("x", m, nil); !errors.Is(err, pubsub.ErrClosed) || m.refs.Load() != 0 {
			t.Errorf("after close: %v, %d references", err, m.refs.Load())
		}
	}
	q.run(10)
	if !slices.Equal(c.got, []string{"before"}) {
		t.Errorf("got %q", c.got)
	}
	p.Unsubscribe(0, &c)
}

func TestNewRefuses(t *testing.T) {
	bus := pubsub.NewHub().Node()
	if err := bus.Close(); err != nil {
		t.Fatal(err)
	}
	one := []dispatch.Executor{&queue{}}
	for name, call := range map[string]func() (*dispatch.PubSub, error){
		"no shards":     func() (*dispatch.PubSub, error) { return dispatch.New(nil, keep{}, dispatch.Options{}) },
		"no dispatcher": func() (*dispatch.PubSub, error) { return dispatch.New(one, nil, dispatch.Options{}) },
		"no codec":      func() (*dispatch.PubSub, error) { return dispatch.New(one, keep{}, dispatch.Options{Bus: bus}) },
		"closed bus": func() (*dispatch.PubSub, error) {
			return dispatch.New(one, keep{}, dispatch.Options{Bus: bus, Codec: textCodec{}})
		},
	} {
		if p, err := call(); err == nil || p != nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestNodes(t *testing.T) {
	hub := pubsub.NewHub()
	var failed []error
	var queues [3]*queue
	var nodes [3]*dispatch.PubSub
	var clients [3]client
	for i := range nodes {
		queues[i] = &queue{}
		nodes[i] = newPubSub(t, dispatch.Options{
			Bus: hub.Node(), Codec: textCodec{}, OnError: func(err error) { failed = append(failed, err) },
		}, queues[i])
		nodes[i].Subscribe(0, "x", &clients[i])
	}
	nodes[2].Unsubscribe(0, &clients[2])
	// The sender is left out where it is; elsewhere nobody is.
	if err := nodes[0].Broadcast("x", newMessage("all"), &clients[0]); err != nil {
		t.Fatal(err)
	}
	if err := nodes[0].BroadcastLocal("x", newMessage("local"), nil); err != nil {
		t.Fatal(err)
	}
	if err := nodes[0].Broadcast("x", newMessage("bad"), nil); err != nil {
		t.Fatal(err)
	}
	for _, q := range queues {
		q.run(10)
	}
	for i, want := range [][]string{{"local", "bad"}, {"all"}, nil} {
		if !slices.Equal(clients[i].got, want) {
			t.Errorf("node %d got %q, want %q", i, clients[i].got, want)
		}
	}
	if len(failed) != 1 {
		t.Errorf("errors %v, want one of the bad message", failed)
	}
	for _, q := range queues {
		if len(q.tasks) != 0 {
			t.Error("tasks left: a message went round")
		}
	}
}

// TestLoops has real executors, concurrent publishers and subscribers that come and go: for the race detector, and for
// order and completeness at subscribers that stay.
func TestLoops(t *testing.T) {
	const shards, publishers, each, topics = 4, 4, 300, 3
	loops := make([]*loop, shards)
	executors := make([]dispatch.Executor, shards)
	for i := range loops {
		loops[i] = startLoop(t)
		executors[i] = loops[i]
	}
	p := newPubSub(t, dispatch.Options{}, executors...)
	steady := make([]client, shards*topics)
	for i := range steady {
		loops[i%shards].do(func() { p.Subscribe(i%shards, fmt.Sprint("t", i/shards), &steady[i]) })
	}
	var messages sync.Map
	var wg sync.WaitGroup
	for n := range publishers {
		wg.Go(func() {
			for i := range each {
				for topic := range topics {
					m := newMessage(fmt.Sprintf("%d:%d", n, i))
					messages.Store(m, true)
					if err := p.Broadcast(fmt.Sprint("t", topic), m, nil); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for shard, l := range loops {
		wg.Go(func() {
			var guest client
			for i := range each {
				l.do(func() {
					p.Unsubscribe(shard, &guest)
					p.Subscribe(shard, fmt.Sprint("t", i%(topics+1)), &guest)
				})
				p.Subscribers("t0")
			}
			l.do(func() { p.Unsubscribe(shard, &guest) })
		})
	}
	wg.Wait()
	for _, l := range loops {
		l.do(func() {})
	}
	for i := range steady {
		checkPublishers(t, steady[i].got, publishers, each)
	}
	messages.Range(func(m, _ any) bool {
		if n := m.(*message).refs.Load(); n != 0 {
			t.Errorf("%d references left", n)
		}
		return true
	})
}

// checkPublishers wants each publisher's messages complete and in order.
func checkPublishers(t *testing.T, got []string, publishers, each int) {
	t.Helper()
	if len(got) != publishers*each {
		t.Errorf("%d messages, want %d", len(got), publishers*each)
	}
	next := make([]int, publishers)
	for _, text := range got {
		var n, i int
		if _, err := fmt.Sscanf(text, "%d:%d", &n, &i); err != nil || next[n] != i {
			t.Fatalf("got %q, want number %d of its publisher", text, next[n])
		}
		next[n]++
	}
}

// TestSubscribeThenBroadcast: a broadcaster that knows of a Subscribe reaches that subscriber, whatever others do to the topic.
func TestSubscribeThenBroadcast(t *testing.T) {
	loops := []*loop{startLoop(t), startLoop(t)}
	p := newPubSub(t, dispatch.Options{}, loops[0], loops[1])
	var wg sync.WaitGroup
	for shard, l := range loops {
		wg.Go(func() {
			for i := range 500 {
				var c client
				l.do(func() { p.Subscribe(shard, "x", &c) })
				want := fmt.Sprintf("%d:%d", shard, i)
				if err := p.Broadcast("x", newMessage(want), nil); err != nil {
					t.Error(err)
				}
				l.do(func() {
					if !slices.Contains(c.got, want) {
						t.Errorf("%q is lost", want)
					}
					p.Unsubscribe(shard, &c)
				})
			}
		})
	}
	wg.Wait()
}
