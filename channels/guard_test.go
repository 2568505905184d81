package channels_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

// gate is a guard that refuses joins and events by their names, and notes its calls.
type gate struct {
	socket *channels.Socket

	mu     sync.Mutex
	shut   bool // refuses all joins
	events []string
}

func (g *gate) note(event string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.events = append(g.events, event)
}

func (g *gate) noted() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.events)
}

func (g *gate) Opened() { g.note("opened") }
func (g *gate) Closed() { g.note("closed") }

func (g *gate) Join(topic string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.shut || strings.HasSuffix(topic, ":secret"):
		return errors.New("not for you")
	case strings.HasSuffix(topic, ":full"):
		return channels.Errorf("full")
	case strings.HasSuffix(topic, ":panic"):
		panic("join panics")
	}
	return nil
}

func (g *gate) Event(_ string, event []byte) (channels.EventFunc, error) {
	switch string(event) {
	case "shout":
		return nil, errors.New("be quiet")
	case "fail":
		return nil, channels.Errorf("no failing")
	case "crash":
		panic("event panics")
	case "mine":
		return g.mine, nil
	case "mine_too":
		return func(*channels.Context, channels.Payload) (channels.Reply, error) { panic("boom") }, nil
	}
	return nil, nil
}

func (g *gate) mine(c *channels.Context, p channels.Payload) (channels.Reply, error) {
	if string(p.Data) == `{"bad":1}` {
		return channels.Reply{}, errors.New("secret detail")
	}
	return channels.Reply{Status: "ok", Response: map[string]string{"on": c.Topic(), "got": string(p.Data)}}, nil
}

// guarded runs a test with a client whose socket has a gate.
func guarded(t *testing.T, test func(t *testing.T, g *gate, c *channelstest.Client, e *channelstest.Endpoint)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := channelstest.Start(t, channels.Options{})
		g := new(gate)
		e.Socket("/socket", channels.SocketOptions{Connect: func(_ context.Context, s *channels.Socket, r *channels.Request) error {
			if r.Params.Get("refuse") != "" {
				s.SetGuard(g)
				return errors.New("refused")
			}
			g.socket = s
			s.SetID("user:1")
			s.SetGuard(g)
			return nil
		}}, room(), quiet())
		test(t, g, channelstest.Connect(t, e, "/socket"), e)
	})
}

func TestGuardJoin(t *testing.T) {
	guarded(t, func(t *testing.T, g *gate, c *channelstest.Client, e *channelstest.Endpoint) {
		for topic, want := range map[string]string{
			"room:1":      `{"subtopic":"1"}`,
			"room:secret": `{"reason":"unauthorized"}`, "room:full": `{"reason":"full"}`, "room:panic": `{"reason":"unauthorized"}`,
			"quiet:secret": `{"reason":"unauthorized"}`, "other:secret": `{"reason":"unmatched topic"}`,
		} {
			if _, reply := c.TryJoin(topic, nil); string(reply.Response) != want {
				t.Errorf("joining %s: %s %s, want %s", topic, reply.Status, reply.Response, want)
			}
		}
		held := c.Join("room:2", nil)
		g.mu.Lock()
		g.shut = true
		g.mu.Unlock()
		if _, reply := c.TryJoin("room:2", nil); reply.Status != "error" {
			t.Errorf("joining again: %s %s", reply.Status, reply.Response)
		}
		held.AssertClose()
		if err := e.Broadcast("room:2", "news", map[string]int{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		held.RefutePush("news", nil)
	})
}

func TestGuardEvents(t *testing.T) {
	for _, topic := range []string{"room:1", "quiet:1"} {
		guarded(t, func(_ *testing.T, _ *gate, c *channelstest.Client, _ *channelstest.Endpoint) {
			unauthorized := map[string]string{"reason": "unauthorized"}
			ch := c.Join(topic, nil)
			ch.Push("echo", map[string]int{"a": 1}).AssertReply("ok", map[string]int{"a": 1})
			ch.Push("shout", map[string]string{"body": "hi"}).AssertReply("error", unauthorized)
			ch.Push("fail", nil).AssertReply("error", map[string]string{"reason": "no failing"})
			ch.Push("crash", nil).AssertReply("error", unauthorized)
			ch.Push("mine", map[string]int{"a": 1}).AssertReply("ok", map[string]string{"on": topic, "got": `{"a":1}`})
			ch.Push("mine", map[string]int{"bad": 1}).AssertReply("error", unauthorized)
			ch.Push("echo", nil).AssertReply("ok", nil)
			ch.Push("mine_too", nil)
			ch.AssertError()
			c.Join(topic, nil).Leave()
		})
	}
}

// A guard is called for the beginning and the end of a socket, each once, and not at all
// for a socket that was refused.
func TestGuardLife(t *testing.T) {
	guarded(t, func(t *testing.T, g *gate, c *channelstest.Client, e *channelstest.Endpoint) {
		if g.socket.Guard() != channels.Guard(g) {
			t.Errorf("Guard() = %v", g.socket.Guard())
		}
		room1, room2 := c.Join("room:1", nil), c.Join("quiet:2", nil)
		g.socket.EachChannel(func(c *channels.Context) { c.Push("told", map[string]string{"topic": c.Topic()}) })
		room1.AssertPush("told", map[string]string{"topic": "room:1"})
		room2.AssertPush("told", map[string]string{"topic": "quiet:2"})
		g.socket.Close(1008, "")
		g.socket.Close(1001, "")
		c.AssertClosed(1008)
		synctest.Wait()
		if got := g.noted(); !slices.Equal(got, []string{"opened", "closed"}) {
			t.Errorf("told of %v", got)
		}
		if _, err := channelstest.TryConnect(t, e, "/socket?refuse=1", nil); err == nil {
			t.Error("connected")
		}
		synctest.Wait()
		if got := g.noted(); len(got) != 2 {
			t.Errorf("told of a socket that was refused: %v", got)
		}
	})
}

// A session of long polling ends with its socket.
func TestCloseLongPoll(t *testing.T) {
	var socket *channels.Socket
	eachPolling(t, channels.SocketOptions{Connect: func(_ context.Context, s *channels.Socket, _ *channels.Request) error {
		socket = s
		return nil
	}}, func(t *testing.T, _ *server, c *lpClient) {
		c.open()
		answer := c.waiting(context.Background())
		socket.Close(1008, "")
		if a := <-answer; a.Status != http.StatusGone {
			t.Errorf("a poll that waited: %s", a.raw)
		}
	}, rooms)
}
