package channels_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
)

// userGuard is a guard that permits everything and knows its user.
type userGuard string

func (userGuard) Opened()                                          {}
func (userGuard) Closed()                                          {}
func (userGuard) Join(string) error                                { return nil }
func (userGuard) Event(string, []byte) (channels.EventFunc, error) { return nil, nil }
func (p userGuard) Client() string                                 { return string(p) }

// withUsers gives sockets a guard that knows the user in their params, and an id.
var withUsers = channels.SocketOptions{Connect: func(_ context.Context, s *channels.Socket, r *channels.Request) error {
	s.SetGuard(userGuard(r.Params.Get("user")))
	s.SetID("id:" + r.Params.Get("user"))
	return nil
}}

const asUser = "/socket/websocket?vsn=2.0.0&user="

// ping waits until everything that was ordered before has been carried out: a
// heartbeat is answered on the socket's loop.
func (p *peer) ping() {
	p.t.Helper()
	p.assertNextReply(p.push("", "phoenix", "heartbeat", "{}"))
}

// assertNextReply fails the test if the next message is not the reply to ref.
func (p *peer) assertNextReply(ref string) {
	p.t.Helper()
	if m, err := p.read(); err != nil || m.event != "phx_reply" || m.ref != ref {
		p.t.Fatalf("received %v, %v; want the reply to %s", m, err, ref)
	}
}

func ordered(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What is pushed to an audience reaches its sockets on all nodes, in order and once: as
// a push of the channel that has joined the topic, or as a message without a join_ref.
func TestAudiencePush(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		nodes := serveNodes(t, 2, o, withUsers, relayed())
		joined, other := nodes[0].dialTarget(t, asUser+"ada", nil), nodes[1].dialTarget(t, asUser+"ada", nil)
		bob := nodes[1].dialTarget(t, asUser+"bob", nil)
		ref := joined.join("room:1", "{}")
		bob.join("room:1", "{}")

		for i, target := range []channels.Target{{User: "ada"}, {SocketID: "id:ada"}} {
			payload := fmt.Sprintf(`{"n":%d}`, i)
			for _, node := range nodes {
				ordered(t, node.To(target).Push("room:1", "news", map[string]int{"n": i}))
				joined.assertNext(ref, "room:1", "news", payload)
				other.assertNext("", "room:1", "news", payload)
			}
		}
		one := nodes[1].FindSockets(channels.SocketQuery{Target: channels.Target{User: "ada"}})
		if len(one) != 1 || one[0].User != "ada" || one[0].ID != "id:ada" {
			t.Fatalf("ada's sockets on the second node: %+v", one)
		}
		ordered(t, nodes[0].To(channels.Target{Socket: one[0].Socket}).Push("else", "only", channels.Binary("\x01")))
		if m, err := other.read(); err != nil || m.topic != "else" || string(m.binary) != "\x01" {
			t.Fatalf("one socket was sent %v, %v", m, err)
		}
		for _, p := range []*peer{joined, other, bob} {
			p.ping() // nothing else has come
		}
	})
}

func TestAudienceErrors(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, withUsers, relayed())
		ada := s.dialTarget(t, asUser+"ada", nil)
		for _, target := range []channels.Target{{}, {User: "ada", SocketID: "id:ada"}, {User: "ada", Socket: "x"}} {
			if err := s.To(target).Leave("room:1"); !errors.Is(err, channels.ErrTarget) {
				t.Errorf("%+v: %v", target, err)
			}
		}
		to := s.To(channels.Target{User: "ada"})
		if err := to.Push("room:1", "news", []int{1}); !errors.Is(err, channels.ErrNotObject) {
			t.Errorf("a list: %v", err)
		}
		if err := to.Push(strings.Repeat("t", 256), "news", channels.Binary("x")); err == nil {
			t.Error("bytes on a topic of 256 bytes were sent")
		}
		for _, name := range []string{"x", "-", "x-0-1", "-0-", "a-b-c"} {
			ordered(t, s.To(channels.Target{Socket: name}).Disconnect(true))
		}
		ada.ping()
	})
}

func TestAudienceLeave(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		nodes := serveNodes(t, 2, o, withUsers, relayed())
		ada, bob := nodes[1].dialTarget(t, asUser+"ada", nil), nodes[1].dialTarget(t, asUser+"bob", nil)
		ref := ada.join("room:1", "{}")
		stays := ada.join("room:2", "{}")
		kept := bob.join("room:1", "{}")
		ordered(t, nodes[0].To(channels.Target{User: "ada"}).Leave("room:1"))
		ada.assertNext(ref, "room:1", "phx_close", "{}")
		ordered(t, nodes[0].Broadcast("room:1", "news", nil))
		ordered(t, nodes[0].Broadcast("room:2", "news", nil))
		ada.assertNext("", "room:2", "news", "{}")
		bob.assertNext("", "room:1", "news", "{}")
		bob.assertReply(kept, "room:1", "phx_leave", "{}", "ok", "{}")
		ada.assertReply(stays, "room:2", "hello", "{}", "ok", "{}")
		ada.join("room:1", "{}")
	})
}

// Sockets that the server subscribes get the broadcasts of the topic once, whether they
// have joined it or not, until they are unsubscribed or made to leave.
func TestAudienceSubscribe(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Limits.TopicsPerChannel = 2
		nodes := serveNodes(t, 2, o, withUsers, relayed())
		ada, bob := nodes[1].dialTarget(t, asUser+"ada", nil), nodes[1].dialTarget(t, asUser+"bob", nil)
		to := nodes[0].To(channels.Target{User: "ada"})
		say := func(n int) {
			t.Helper()
			ordered(t, nodes[0].Broadcast("news", "item", map[string]int{"n": n}))
		}
		heard := func(n int) {
			t.Helper()
			ada.assertNext("", "news", "item", fmt.Sprintf(`{"n":%d}`, n))
		}
		ordered(t, to.Subscribe("news"))
		ordered(t, to.Subscribe("news"))
		say(1)
		heard(1)
		ref := ada.join("news", "{}")
		say(2)
		heard(2)
		ada.assertReply(ref, "news", "phx_leave", "{}", "ok", "{}")
		say(3)
		if m, err := ada.until(func(m envelope) bool { return m.event == "item" }); err != nil || string(m.payload) != `{"n":3}` {
			t.Fatalf("after leaving: %v, %v", m, err)
		}
		ordered(t, to.Subscribe("weather"))
		ordered(t, to.Subscribe("too many"))
		ada.ping()
		if list := nodes[1].FindSockets(channels.SocketQuery{Target: channels.Target{User: "ada"}}); !slices.Equal(list[0].Subscribed, []string{"news", "weather"}) {
			t.Errorf("subscribed to %q", list[0].Subscribed)
		}
		ordered(t, to.Unsubscribe("news"))
		ordered(t, to.Leave("weather"))
		say(4)
		ordered(t, nodes[0].Broadcast("weather", "item", nil))
		ada.ping()
		bob.ping()
		if n := countTopics(nodes[1].Endpoint); n != 0 {
			t.Errorf("%d topics with subscribers are left", n)
		}
		ordered(t, to.Subscribe("news")) // ends with the socket
		ada.ping()
		ada.Drop()
		waitFor(t, "the subscription to end", func() bool { return countTopics(nodes[1].Endpoint) == 0 })
	})
}

func TestAudienceDisconnect(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		nodes := serveNodes(t, 2, o, withUsers, relayed())
		for _, c := range []struct {
			reconnect bool
			code      uint16
		}{{true, 1001}, {false, 1000}} {
			here, there := nodes[0].dialTarget(t, asUser+"ada", nil), nodes[1].dialTarget(t, asUser+"ada", nil)
			bob := nodes[1].dialTarget(t, asUser+"bob", nil)
			ordered(t, nodes[0].To(channels.Target{User: "ada"}).Disconnect(c.reconnect))
			for _, p := range []*peer{here, there} {
				if code := p.closeCode(); code != c.code {
					t.Errorf("closed with %d, want %d", code, c.code)
				}
			}
			bob.ping()
		}
	})
}

// Each socket that stays connected is on exactly one page, while others come and go.
func TestSocketPages(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, withUsers, relayed())
		stay := make(map[string]bool)
		var others []*peer
		for i := range 40 {
			user := fmt.Sprintf("stays-%02d", i)
			stay[user] = true
			s.dialTarget(t, asUser+user, nil)
			others = append(others, s.dialTarget(t, asUser+"goes", nil))
		}
		names := make(map[string]bool)
		seen := make(map[string]int)
		for after := ""; ; {
			page := s.FindSockets(channels.SocketQuery{After: after, Limit: 7})
			if len(page) == 0 {
				break
			}
			for _, one := range page {
				if names[one.Socket] || channels.CompareSockets(one.Socket, after) <= 0 {
					t.Fatalf("%s twice, or behind %s", one.Socket, after)
				}
				names[one.Socket] = true
				seen[one.User]++
				after = one.Socket
			}
			if len(others) > 3 {
				others[0].Drop()
				others[1].Drop()
				others = append(others[2:], s.dialTarget(t, asUser+"goes", nil))
			}
		}
		for user := range stay {
			if seen[user] != 1 {
				t.Errorf("%s was on %d pages", user, seen[user])
			}
		}
	})
}

func TestUsers(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, withUsers, relayed())
		clients := make(map[string]*peer)
		for _, user := range []string{"bob", "ada", "", "carol", "ada"} {
			p := s.dialTarget(t, asUser+user, nil)
			p.join("room:"+user, "{}")
			p.join("room:1", "{}")
			clients[user] = p
		}
		want := "[{ada 2 [room:1 room:ada]} {bob 1 [room:1 room:bob]}]"
		if got := fmt.Sprint(s.Users("", 2)); got != want {
			t.Errorf("the first page is %s, want %s", got, want)
		}
		if got := fmt.Sprint(s.Users("bob", 2)); got != "[{carol 1 [room:1 room:carol]}]" {
			t.Errorf("the second page is %s", got)
		}
		dora := s.dialTarget(t, asUser+"dora", nil)
		dora.ping()
		clients["bob"].Drop()
		waitFor(t, "bob to be gone", func() bool { return len(s.Users("", 0)) == 3 })
		if got := fmt.Sprint(s.Users("carol", 0)); got != "[{dora 1 []}]" {
			t.Errorf("the end is %s", got)
		}
	})
}
