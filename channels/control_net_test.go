package channels_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/presence"
	"github.com/mycelium-rt/mycelium/pubsub"
)

// relayed is a channel like that of a relay: everybody may join every topic and push any
// event.
func relayed() *channels.Channel {
	ch := channels.Handle("*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	})
	ch.OnAny(func(c *channels.Context, event string, p channels.Payload) (channels.Reply, error) {
		return channels.Reply{Status: "ok"}, c.Relay(event, p)
	})
	return ch
}

// withUserIDs gives sockets the id of their user.
var withUserIDs = channels.SocketOptions{Connect: func(_ context.Context, s *channels.Socket, r *channels.Request) error {
	if user := r.Params.Get("user"); user != "" {
		s.SetID("users_socket:" + user)
	}
	return nil
}}

const adasID = "users_socket:ada"

// heard subscribes the program to a topic, and returns the events that it gets.
func heard(s *server, topic string) (events chan string) {
	events = make(chan string, 100)
	s.Subscribe(topic, func(topic, event string, p channels.Payload) {
		events <- topic + " " + event + " " + string(p.Data)
	})
	return events
}

func TestSocketIDsAreNoTopics(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, withUserIDs, relayed())
		ada := s.dialTarget(t, "/socket/websocket?vsn=2.0.0&user=ada", nil)
		second := s.dialTarget(t, "/socket/websocket?vsn=2.0.0&user=ada", nil)
		second.join("room:1", "{}")
		ada.join("room:1", "{}")
		if n := countTopics(s.Endpoint); n != 1 {
			t.Errorf("%d topics with two sockets on one, want 1: a socket id is not a topic", n)
		}
		bob := s.dialTarget(t, "/socket/websocket?vsn=2.0.0&user=bob", nil)
		ref := bob.join(adasID, "{}")
		events := heard(s, adasID)

		bob.push(ref, adasID, "disconnect", "{}")
		bob.assertNext("", adasID, "disconnect", "{}")
		if err := s.Broadcast(adasID, "disconnect", map[string]any{}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got := <-events; got != adasID+" disconnect {}" {
				t.Errorf("the program was told %q", got)
			}
		}
		ada.assertReply("", "phoenix", "heartbeat", "{}", "ok", "{}")
		second.assertReply("", "phoenix", "heartbeat", "{}", "ok", "{}")
		bob.await("disconnect") // the program's

		if err := s.Disconnect(adasID); err != nil {
			t.Fatal(err)
		}
		for _, p := range []*peer{ada, second} {
			if code := p.closeCode(); code != 1001 {
				t.Errorf("disconnected with %d, want 1001", code)
			}
		}
		if got := <-events; got != adasID+" disconnect {}" {
			t.Errorf("the program was told %q", got)
		}
		bob.push(ref, adasID, "mark", "{}")
		bob.until(func(m envelope) bool {
			if m.event == "disconnect" {
				t.Error("a client on a topic of that name was told of the disconnect")
			}
			return m.event == "mark"
		})
		bob.assertReply("", "phoenix", "heartbeat", "{}", "ok", "{}")
	})
}

// serveNodes starts n endpoints on one bus. What they leave behind is checked when
// all of them have shut down: frames are counted for the whole process.
func serveNodes(t *testing.T, n int, o channels.Options, so channels.SocketOptions, chs ...*channels.Channel) []*server {
	t.Helper()
	hub := pubsub.NewHub()
	nodes := make([]*server, n)
	t.Cleanup(func() { assertNothingLeft(t) })
	for i := range nodes {
		o.Bus = hub.Node()
		s := newServer(t, o)
		s.Socket("/socket", so, chs...)
		t.Cleanup(func() {
			if err := shutdown(t, s); err != nil {
				t.Errorf("shutdown: %v", err)
			}
		})
		nodes[i] = s
	}
	return nodes
}

func TestDisconnectReachesAllNodes(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		nodes := serveNodes(t, 3, o, withUserIDs, relayed())
		here, there, idle := nodes[0], nodes[1], nodes[2]
		target := "/socket/websocket?vsn=2.0.0&user="
		ada, carol := there.dialTarget(t, target+"ada", nil), there.dialTarget(t, target+"carol", nil)
		ada.join("room:1", "{}")
		carol.join("room:1", "{}")
		events := heard(idle, adasID) // a node without such a socket

		// A client that knows how nodes talk cannot talk so.
		bob := here.dialTarget(t, target+"bob", nil)
		for _, topic := range []string{"mycelium:control", adasID} {
			ref := bob.join(topic, "{}")
			bob.assertReply(ref, topic, "disconnect", "{}", "ok", "{}")
			bob.assertReply(ref, topic, "disconnect "+adasID, "{}", "ok", "{}")
		}
		ada.assertReply("", "phoenix", "heartbeat", "{}", "ok", "{}")

		if err := here.Disconnect(adasID); err != nil {
			t.Fatal(err)
		}
		if code := ada.closeCode(); code != 1001 {
			t.Errorf("disconnected from another node with %d, want 1001", code)
		}
		for got := range events {
			if got == adasID+" disconnect {}" {
				break
			}
			if !strings.HasPrefix(got, adasID+" disconnect") { // bob's
				t.Fatalf("the program was told %q", got)
			}
		}
		carol.assertReply("", "phoenix", "heartbeat", "{}", "ok", "{}")
	})
}

// Each node tells its own clients who is present on it: a diff that came from
// another node would be of entries that no state of theirs had.
func TestPresenceStaysOnItsNode(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		hub := pubsub.NewHub()
		newNode := func() *server {
			o.Bus = hub.Node()
			s := newServer(t, o)
			who := presence.New(s, presence.Options{})
			ch := channels.Handle("room:*", func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
				return channels.NoReply{}, c.Send("joined")
			})
			channels.Info(ch, func(c *channels.Context, _ string) error {
				_, err := who.Track(c, "ada", map[string]string{})
				return errors.Join(err, who.PushState(c))
			})
			channels.On(ch, "everywhere", func(c *channels.Context, m channels.Payload) (channels.NoReply, error) {
				return channels.NoReply{}, c.Broadcast("everywhere", m)
			})
			s.Socket("/socket", channels.SocketOptions{}, ch)
			t.Cleanup(func() {
				if err := shutdown(t, s); err != nil {
					t.Error(err)
				}
				who.Close()
			})
			return s
		}
		a, b := newNode(), newNode()
		watcher := b.dial(t)
		watcher.join("room:1", "{}")
		watcher.await("presence_state")
		member := a.dial(t)
		ref := member.join("room:1", "{}")
		member.await("presence_diff")
		member.await("presence_state")
		member.push(ref, "room:1", "everywhere", "{}") // behind the diff, by the same bus
		if m, err := watcher.read(); err != nil || m.event != "everywhere" {
			t.Errorf("the other node's client got %v, %v first", m, err)
		}
		if err := a.BroadcastLocal("room:1", "here", map[string]int{"n": 1}); err != nil {
			t.Error(err)
		}
		member.await("here")
		member.push(ref, "room:1", "everywhere", "{}")
		if m, err := watcher.read(); err != nil || m.event != "everywhere" {
			t.Errorf("the other node's client got %v, %v of a local broadcast", m, err)
		}
	})
}
