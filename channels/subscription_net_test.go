package channels_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/pubsub"
)

// topicIs is what events of the hub are about.
type topicIs struct {
	Topic string `json:"topic"`
}

// hub is a channel whose clients say what it is to subscribe to. Each event also
// broadcasts to that topic as soon as it has subscribed.
func hub() *channels.Channel {
	type params struct{ Forward, Refuse, Wait string }
	ch := channels.Handle("hub:*", func(c *channels.Context, p params) (channels.NoReply, error) {
		if p.Forward != "" {
			if err := errors.Join(c.Forward(p.Forward), c.Endpoint().Broadcast(p.Forward, "early", struct{}{})); err != nil {
				return channels.NoReply{}, err
			}
		}
		if p.Refuse != "" {
			return channels.NoReply{}, channels.Errorf("no")
		}
		return channels.NoReply{}, nil
	})
	on := func(event string, f func(c *channels.Context, topic string) error) {
		channels.On(ch, event, func(c *channels.Context, p topicIs) (struct{}, error) {
			if err := f(c, p.Topic); err != nil {
				return struct{}{}, channels.Errorf("%v", err)
			}
			return struct{}{}, nil
		})
	}
	on("subscribe", func(c *channels.Context, topic string) error {
		return errors.Join(c.Subscribe(topic), c.Endpoint().Broadcast(topic, "first", struct{}{}))
	})
	on("forward", func(c *channels.Context, topic string) error {
		return errors.Join(c.Forward(topic), c.Endpoint().Broadcast(topic, "first", struct{}{}))
	})
	on("unsubscribe", func(c *channels.Context, topic string) error {
		err := c.Endpoint().Broadcast(topic, "last", struct{}{}) // to a channel that runs: it waits
		c.Unsubscribe(topic)
		return err
	})
	on("push", func(c *channels.Context, topic string) error { return c.PushTo(topic, "pushed", struct{}{}) })
	on("others", func(c *channels.Context, _ string) error { return c.BroadcastFrom("from", struct{}{}) })
	on("crash", func(*channels.Context, string) error { panic("crash") })
	on("exit", func(*channels.Context, string) error { runtime.Goexit(); return nil })
	on("stop", func(c *channels.Context, _ string) error { c.Stop(nil); return nil })
	channels.Info(ch, func(c *channels.Context, b channels.Broadcast) error {
		return c.Push("heard", map[string]any{"topic": b.Topic, "event": b.Event, "payload": json.RawMessage(b.Payload.Data)})
	})
	return ch
}

// eachHub runs a test with callbacks on goroutines and on the loop.
func eachHub(t *testing.T, test func(t *testing.T, o channels.Options, ch *channels.Channel)) {
	t.Helper()
	both(t, func(t *testing.T, o channels.Options) {
		t.Run("goroutines", func(t *testing.T) { test(t, o, hub()) })
		t.Run("loop", func(t *testing.T) { test(t, o, hub().OnLoop()) })
	})
}

func topicJSON(topic string) string { return fmt.Sprintf(`{"topic":%q}`, topic) }

func heardOf(topic, event, payload string) string {
	return fmt.Sprintf(`{"event":%q,"payload":%s,"topic":%q}`, event, payload, topic)
}

// Broadcasts that follow Subscribe and Forward arrive, until Unsubscribe.
func TestSubscribe(t *testing.T) {
	eachHub(t, func(t *testing.T, o channels.Options, ch *channels.Channel) {
		s := serve(t, o, channels.SocketOptions{}, ch, room())
		p := s.dial(t)
		ref := p.join("hub:1", "{}")
		p.push(ref, "hub:1", "subscribe", topicJSON("news"))
		seen := map[string]bool{}
		for len(seen) < 2 {
			m, err := p.read()
			if err != nil {
				t.Fatal(err)
			}
			seen[m.event] = true
			if m.event == "heard" && string(m.payload) != heardOf("news", "first", "{}") {
				t.Fatalf("%v", m)
			}
		}
		p.assertReply(ref, "hub:1", "subscribe", topicJSON("news"), "ok", "{}") // once is enough
		p.assertNext(ref, "hub:1", "heard", heardOf("news", "first", "{}"))
		if err := s.Broadcast("news", "x", map[string]int{"n": 1}); err != nil {
			t.Fatal(err)
		}
		p.assertNext(ref, "hub:1", "heard", heardOf("news", "x", `{"n":1}`))
		p.assertReply(ref, "hub:1", "unsubscribe", topicJSON("news"), "ok", "{}")
		p.assertReply(ref, "hub:1", "others", topicJSON(""), "ok", "{}")
		waitFor(t, "the topic to be left", func() bool { return countTopics(s.Endpoint) == 1 })
		if err := s.Broadcast("news", "x", struct{}{}); err != nil {
			t.Fatal(err)
		}
		p.assertReply("", "phoenix", "heartbeat", "{}", "ok", "{}")

		// Its own topic, but what it sends to the others.
		p.assertReply(ref, "hub:1", "subscribe", topicJSON("hub:1"), "ok", "{}")
		p.await("heard")
		p.assertReply(ref, "hub:1", "others", topicJSON(""), "ok", "{}")
		p.assertReply("", "phoenix", "heartbeat", "{}", "ok", "{}")
	})
}

// Forwarded broadcasts look like any others, and have their own topic.
func TestForward(t *testing.T) {
	eachHub(t, func(t *testing.T, o channels.Options, ch *channels.Channel) {
		s := serve(t, o, channels.SocketOptions{Compress: true}, ch)
		for _, p := range []*peer{s.dial(t), s.dialV1(t)} {
			ref := p.join("hub:1", `{"Forward":"doc:0"}`)
			p.assertNext("", "doc:0", "early", "{}")
			p.assertReply(ref, "hub:1", "forward", topicJSON("doc:1"), "ok", "{}")
			if err := s.Broadcast("doc:1", "second", map[string]int{"n": 1}); err != nil {
				t.Fatal(err)
			}
			m := p.await("second")
			if m.topic != "doc:1" || m.joinRef != "" || m.ref != "" || string(m.payload) != `{"n":1}` {
				t.Errorf("forwarded: %v", m)
			}
			if !p.v1 {
				if err := s.Broadcast("doc:1", "bytes", channels.Binary("x")); err != nil {
					t.Fatal(err)
				}
				if m := p.await("bytes"); string(m.binary) != "x" || m.topic != "doc:1" {
					t.Errorf("forwarded: %v", m)
				}
			}
			p.push(ref, "hub:1", "push", topicJSON("doc:2"))
			p.assertNext("", "doc:2", "pushed", "{}")
			p.Drop()
		}
		waitFor(t, "the topics to be left", func() bool { return countTopics(s.Endpoint) == 0 })
	})
}

// TestForwardAfterReply checks the way that Forward documents to keep broadcasts
// behind the reply of the handler that forwards them.
func TestForwardAfterReply(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		var sending sync.Mutex
		broadcasts := make(chan error, 1)
		ch := channels.Handle("room", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
			return channels.NoReply{}, nil
		})
		channels.On(ch, "follow", func(c *channels.Context, p topicIs) (channels.NoReply, error) {
			sending.Lock()
			defer sending.Unlock()
			if err := c.Forward(p.Topic); err != nil {
				return channels.NoReply{}, err
			}
			go func() {
				sending.Lock()
				defer sending.Unlock()
				broadcasts <- c.Endpoint().Broadcast(p.Topic, "news", struct{}{})
			}()
			time.Sleep(time.Millisecond) // without the lock the broadcast would come first
			return channels.NoReply{}, c.Ref().Reply("ok", nil)
		})
		p := serve(t, o, channels.SocketOptions{}, ch).dial(t)
		ref := p.join("room", "{}")
		for i := range 20 {
			topic := fmt.Sprint("feed:", i)
			follow := p.push(ref, "room", "follow", topicJSON(topic))
			if m, err := p.read(); err != nil || m.event != "phx_reply" || m.ref != follow {
				t.Fatalf("%v, %v, want the reply to %s", m, err, follow)
			}
			p.assertNext("", topic, "news", "{}")
			if err := <-broadcasts; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// However a channel ends, nothing of its subscriptions is left.
func TestSubscriptionsEnd(t *testing.T) {
	eachHub(t, func(t *testing.T, o channels.Options, ch *channels.Channel) {
		s := serve(t, o, channels.SocketOptions{}, ch)
		for _, end := range []string{"crash", "stop", "phx_leave", "exit", "drop", "rejoin", "refuse"} {
			p := s.dial(t)
			ref := p.join("hub:1", `{"Forward":"doc:1"}`)
			p.assertReply(ref, "hub:1", "subscribe", topicJSON("doc:2"), "ok", "{}")
			switch end {
			case "drop":
				p.Drop()
			case "rejoin":
				p.join("hub:1", "{}")
				waitFor(t, "the old channel's to be left", func() bool { return countTopics(s.Endpoint) == 1 })
				p.Drop()
			case "refuse":
				p.tryJoin("hub:2", `{"Forward":"doc:3","Refuse":"yes"}`)
				waitFor(t, "the refused channel's to be left", func() bool { return countTopics(s.Endpoint) == 3 })
				p.Drop()
			default:
				p.push(ref, "hub:1", end, topicJSON(""))
			}
			waitFor(t, "all to be left after "+end, func() bool { return countTopics(s.Endpoint) == 0 })
			if err := s.Broadcast("doc:1", "x", struct{}{}); err != nil {
				t.Fatal(err)
			}
			p.Drop()
		}
	})
}

func TestSubscriptionLimits(t *testing.T) {
	eachHub(t, func(t *testing.T, o channels.Options, ch *channels.Channel) {
		o.Limits.TopicsPerChannel = 3
		o.Limits.SocketBytes = 1000
		joined := make(chan *channels.Context, 1)
		plain := channels.Handle("plain", func(c *channels.Context, _ channels.Payload) (struct{}, error) {
			joined <- c
			return struct{}{}, nil
		})
		s := serve(t, o, channels.SocketOptions{}, ch, plain)
		p := s.dial(t)
		ref := p.join("hub:1", "{}")
		for _, test := range []struct{ event, topic, status, response string }{
			{"subscribe", strings.Repeat("x", 900), "error", `{"reason":"channels: too many topics subscribed to"}`},
			{"subscribe", "a", "ok", "{}"},
			{"forward", "a", "ok", "{}"},
			{"forward", "hub:1", "ok", "{}"}, // is anyway
			{"forward", "b", "ok", "{}"},
			{"forward", "c", "error", `{"reason":"channels: too many topics subscribed to"}`},
			{"unsubscribe", "a", "ok", "{}"},
			{"forward", "c", "ok", "{}"},
		} {
			p.assertReply(ref, "hub:1", test.event, topicJSON(test.topic), test.status, test.response)
		}
		p.join("plain", "{}")
		kept := <-joined
		if err := kept.Subscribe("a"); err == nil || !strings.Contains(err.Error(), "without an Info handler of channels.Broadcast") {
			t.Errorf("without a handler: %v", err)
		}
		p.Drop()
		waitFor(t, "the end", func() bool { return kept.Err() != nil })
		if err := kept.Forward("a"); !errors.Is(err, channels.ErrEnded) {
			t.Errorf("after the end: %v", err)
		}
		kept.Unsubscribe("a")
	})
}

// A channel that is sent more than its mailbox takes ends, like one that intercepts.
func TestSubscriptionOverrun(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Limits.MailboxMessages = 4
		busy, goOn, joinOn := make(chan struct{}), make(chan struct{}), make(chan struct{})
		ch := channels.Handle("slow", func(c *channels.Context, _ channels.Payload) (struct{}, error) {
			return struct{}{}, c.Subscribe("news")
		})
		channels.Info(ch, func(*channels.Context, channels.Broadcast) error {
			busy <- struct{}{}
			<-goOn
			return nil
		})
		waiting := channels.Handle("waiting", func(c *channels.Context, _ channels.Payload) (struct{}, error) {
			err := c.Forward("flood")
			busy <- struct{}{}
			<-joinOn
			return struct{}{}, err
		})
		s := serve(t, o, channels.SocketOptions{}, ch, waiting)
		p := s.dial(t)
		p.join("slow", "{}")
		broadcast := func(topic string, n int) {
			for range n {
				if err := s.Broadcast(topic, "x", struct{}{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		broadcast("news", 1)
		<-busy
		broadcast("news", 5)
		p.assertNext("1", "slow", "phx_error", `{"reason":"channel overloaded"}`)
		close(goOn)
		ref := p.push("2", "waiting", "phx_join", "{}")
		<-busy
		broadcast("flood", 6)
		p.assertReply("", "phoenix", "heartbeat", "{}", "ok", "{}")
		close(joinOn)
		if m := p.await("phx_reply"); m.ref != ref || m.status != "ok" {
			t.Fatalf("%v", m)
		}
		for range 4 {
			p.assertNext("", "flood", "x", "{}")
		}
		p.assertNext("2", "waiting", "phx_error", `{"reason":"channel overloaded"}`)
	})
}

// Broadcasts of other nodes come too.
func TestSubscribeOverBus(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		bus := pubsub.NewHub()
		var nodes [2]*server
		for i := range nodes {
			o.Bus = bus.Node()
			nodes[i] = serve(t, o, channels.SocketOptions{}, hub())
		}
		p := nodes[0].dial(t)
		ref := p.join("hub:1", `{"Forward":"doc"}`)
		p.await("early")
		p.assertReply(ref, "hub:1", "subscribe", topicJSON("news"), "ok", "{}")
		p.await("heard")
		for _, topic := range []string{"doc", "news"} {
			if err := nodes[1].Broadcast(topic, "far", map[string]int{"n": 1}); err != nil {
				t.Fatal(err)
			}
		}
		p.assertNext("", "doc", "far", `{"n":1}`)
		p.assertNext(ref, "hub:1", "heard", heardOf("news", "far", `{"n":1}`))
	})
}

func countTopics(e *channels.Endpoint) (n int) {
	for range e.Topics() {
		n++
	}
	return n
}
