package dispatch_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/mycelium-rt/mycelium/internal/dispatch"
)

// model is what a PubSub must do, in the simplest way: a list of subscriptions, and per shard the broadcasts that wait.
type model struct {
	topicOf []string // by client, "" is none
	waiting [][]sent // by shard
	want    [][]string
}

type sent struct {
	topic, text string
	from        int
}

const (
	modelShards  = 3
	modelClients = 12 // client i lives on shard i%modelShards
)

func (m *model) sizes() map[string]int {
	sizes := make(map[string]int)
	for _, topic := range m.topicOf {
		if topic != "" {
			sizes[topic]++
		}
	}
	return sizes
}

func (m *model) broadcast(s sent) {
	for shard := range modelShards {
		for c, topic := range m.topicOf {
			if c%modelShards == shard && topic == s.topic {
				m.waiting[shard] = append(m.waiting[shard], s)
				break
			}
		}
	}
}

func (m *model) run(shard, n int) {
	for _, s := range m.waiting[shard][:n] {
		for c, topic := range m.topicOf {
			if c%modelShards == shard && topic == s.topic && c != s.from {
				m.want[c] = append(m.want[c], s.text)
			}
		}
	}
	m.waiting[shard] = m.waiting[shard][n:]
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		queues := make([]*queue, modelShards)
		executors := make([]dispatch.Executor, modelShards)
		for i := range queues {
			queues[i] = &queue{}
			executors[i] = queues[i]
		}
		p, err := dispatch.New(executors, keep{}, dispatch.Options{})
		if err != nil {
			t.Fatal(err)
		}
		clients := make([]client, modelClients)
		m := &model{
			topicOf: make([]string, modelClients),
			waiting: make([][]sent, modelShards),
			want:    make([][]string, modelClients),
		}
		var messages []*message

		drawClient := rapid.IntRange(0, modelClients-1)
		drawTopic := rapid.SampledFrom([]string{"a", "b", "a:*"})
		run := func(shard, n int) {
			n = queues[shard].run(n)
			m.run(shard, n)
		}
		t.Repeat(map[string]func(*rapid.T){
			"subscribe": func(t *rapid.T) {
				i, topic := drawClient.Draw(t, "client"), drawTopic.Draw(t, "topic")
				p.Subscribe(i%modelShards, topic, &clients[i])
				m.topicOf[i] = topic
			},
			"unsubscribe": func(t *rapid.T) {
				i := drawClient.Draw(t, "client")
				p.Unsubscribe(i%modelShards, &clients[i])
				m.topicOf[i] = ""
			},
			"broadcast": func(t *rapid.T) {
				s := sent{drawTopic.Draw(t, "topic"), fmt.Sprint("m", len(messages)), -1}
				var from any
				if rapid.Bool().Draw(t, "broadcast_from") {
					s.from = drawClient.Draw(t, "from")
					from = dispatch.Subscriber(&clients[s.from])
				}
				msg := newMessage(s.text)
				messages = append(messages, msg)
				if err := p.Broadcast(s.topic, msg, from); err != nil {
					t.Fatal(err)
				}
				m.broadcast(s)
			},
			"run": func(t *rapid.T) {
				run(rapid.IntRange(0, modelShards-1).Draw(t, "shard"), rapid.IntRange(1, 3).Draw(t, "tasks"))
			},
			"": func(t *rapid.T) {
				if got, want := maps.Collect(p.Topics()), m.sizes(); !maps.Equal(got, want) {
					t.Fatalf("topics %v, want %v", got, want)
				}
				for shard := range queues {
					if got, want := len(queues[shard].tasks), len(m.waiting[shard]); got != want {
						t.Fatalf("%d tasks on shard %d, want %d", got, shard, want)
					}
				}
				for i := range clients {
					if !slices.Equal(clients[i].got, m.want[i]) {
						t.Fatalf("client %d got %q, want %q", i, clients[i].got, m.want[i])
					}
					if s := clients[i].Subscription(); s.Topic() != m.topicOf[i] || p.Subscribers(s.Topic()) != m.sizes()[s.Topic()] {
						t.Fatalf("client %d is subscribed to %q, want %q", i, s.Topic(), m.topicOf[i])
					}
				}
			},
		})
		for shard := range queues {
			run(shard, len(queues[shard].tasks))
		}
		for _, msg := range messages {
			if n := msg.refs.Load(); n != 0 {
				t.Fatalf("%d references of %s left", n, msg.text)
			}
		}
	})
}

// TestLargeGroup subscribes many and takes them out in another order: indices stay right while the group grows and shrinks.
func TestLargeGroup(t *testing.T) {
	const n = 10_000
	q := &queue{}
	p := newPubSub(t, dispatch.Options{}, q)
	clients := make([]client, n)
	for i := range clients {
		p.Subscribe(0, "x", &clients[i])
	}
	for i := range n {
		if i%1000 == 0 {
			if err := p.Broadcast("x", newMessage("m"), nil); err != nil {
				t.Fatal(err)
			}
			q.run(1)
		}
		p.Unsubscribe(0, &clients[(i*7919)%n]) // 7919 and n have no common divisor
		if got := p.Subscribers("x"); got != n-1-i {
			t.Fatalf("%d subscribers, want %d", got, n-1-i)
		}
	}
	for i := range n {
		if got, want := len(clients[(i*7919)%n].got), i/1000+1; got != want {
			t.Fatalf("client %d got %d messages, want %d", i, got, want)
		}
	}
}
