package channels_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

type obj = map[string]any

// notes is an observer that writes down what it is told.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) Observes(topic string) bool { return !strings.HasPrefix(topic, "quiet:") }

func (n *notes) Observe(o channels.Observation) {
	n.mu.Lock()
	defer n.mu.Unlock()
	who := "program"
	if o.Socket != nil {
		who = o.Socket.ID()
	}
	switch o.Kind {
	case channels.ObservedConnect:
		n.list = append(n.list, who+" connected")
	case channels.ObservedDisconnect:
		n.list = append(n.list, fmt.Sprintf("%s disconnected: %s %d", who, o.Reason, o.Code))
	case channels.ObservedJoin:
		n.list = append(n.list, who+" joined "+o.Topic)
	case channels.ObservedLeave:
		n.list = append(n.list, who+" left "+o.Channel.Topic()+": "+o.Reason)
	case channels.ObservedBroadcast:
		n.list = append(n.list, fmt.Sprintf("%s broadcast %s %s %s", who, o.Topic, o.Event, o.Payload.Data))
	}
}

// take returns what was observed since the last call.
func (n *notes) take() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.list
	n.list = nil
	return list
}

func (n *notes) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := n.take(); !slices.Equal(got, want) {
		t.Errorf("observed %q,\n    want %q", got, want)
	}
}

// Everything is observed before the client has its answer, and every end has its reason.
func TestObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := channels.Handle("*", func(c *channels.Context, _ any) (channels.NoReply, error) {
			if c.Topic() == "room:secret" {
				return channels.NoReply{}, channels.Errorf("no")
			}
			return channels.NoReply{}, nil
		})
		channels.On(room, "say", func(c *channels.Context, p channels.Payload) (channels.NoReply, error) {
			return channels.NoReply{}, c.RelayFrom("said", p)
		})
		channels.On(room, "fail", func(*channels.Context, any) (channels.NoReply, error) { panic("as asked") })
		channels.On(room, "stop", func(c *channels.Context, _ any) (channels.NoReply, error) {
			c.Stop(nil)
			return channels.NoReply{}, nil
		})
		e := channelstest.Start(t, channels.Options{})
		e.Socket("/socket", channels.SocketOptions{
			IdleTimeout: time.Hour,
			Connect: func(_ context.Context, s *channels.Socket, r *channels.Request) error {
				if r.Params.Get("id") == "" {
					return errors.New("no id")
				}
				s.SetID(r.Params.Get("id"))
				return nil
			},
		}, room)
		n := new(notes)
		e.Observe(n)
		connect := func(id string) *channelstest.Client { return channelstest.Connect(t, e, "/socket?id="+id) }

		ada := connect("ada")
		n.want(t, "ada connected")
		lobby := ada.Join("room:lobby", nil)
		if got := n.take(); !slices.Equal(got, []string{"ada joined room:lobby"}) {
			t.Errorf("when the join was answered: %q", got)
		}
		ada.TryJoin("room:secret", nil)
		n.want(t)
		lobby.Push("say", obj{"n": 1})
		n.want(t, `ada broadcast room:lobby said {"n":1}`)
		if err := e.Broadcast("room:lobby", "news", obj{}); err != nil {
			t.Fatal(err)
		}
		if err := e.Broadcast("quiet:1", "news", obj{}); err != nil {
			t.Fatal(err)
		}
		if err := e.BroadcastLocal("room:lobby", "local", obj{}); err != nil {
			t.Fatal(err)
		}
		n.want(t, "program broadcast room:lobby news {}")

		ada.Join("room:lobby", nil)
		n.want(t, "ada left room:lobby: rejoined", "ada joined room:lobby")
		lobby = ada.Join("room:2", nil)
		lobby.Push("fail", nil)
		n.want(t, "ada joined room:2", "ada left room:2: crashed")
		lobby = ada.Join("room:3", nil)
		lobby.Push("stop", nil)
		n.want(t, "ada joined room:3", "ada left room:3: stopped")
		lobby = ada.Join("room:4", nil)
		lobby.Leave()
		n.want(t, "ada joined room:4", "ada left room:4: left")
		ada.Close()
		n.want(t, "ada left room:lobby: disconnected", "ada disconnected: lost 0")

		connect("bob")
		if err := e.Disconnect("bob"); err != nil {
			t.Fatal(err)
		}
		n.want(t, "bob connected", "bob disconnected: disconnected 1001")
		connect("eve").Join("room:1", nil)
		n.want(t, "eve connected", "eve joined room:1")
		if err := e.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.want(t, "eve left room:1: disconnected", "eve disconnected: shutdown 1012")
	})
}

// The broadcasts to a topic are observed in the order in which clients get them.
func TestObservedOrder(t *testing.T) {
	const publishers, each = 8, 200
	room := channels.Handle("*", func(*channels.Context, any) (channels.NoReply, error) { return channels.NoReply{}, nil })
	e := channelstest.Start(t, channels.Options{})
	e.Socket("/socket", channels.SocketOptions{}, room)
	n := new(notes)
	e.Observe(n)
	var got []string
	l := e.Subscribe("room:1", func(_, event string, _ channels.Payload) { got = append(got, event) })
	var all sync.WaitGroup
	for p := range publishers {
		all.Go(func() {
			for i := range each {
				if err := e.Broadcast("room:1", fmt.Sprintf("%d-%d", p, i), obj{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	l.Close() // got has everything, and is not written any more
	seen := n.take()
	if len(seen) != publishers*each || len(got) != len(seen) {
		t.Fatalf("%d observed and %d received of %d", len(seen), len(got), publishers*each)
	}
	for i, event := range got {
		if want := "program broadcast room:1 " + event + " {}"; seen[i] != want {
			t.Fatalf("number %d: observed %q, received %q", i, seen[i], event)
		}
	}
}
