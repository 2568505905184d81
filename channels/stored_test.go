package channels_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

// shelf is a history.Durable that stores when it is told to.
type shelf struct {
	store *history.Store

	mu     sync.Mutex
	held   []held // guarded by mu
	number uint64 // guarded by mu
}

type held struct {
	space, topic string
	entry        []byte
	done         func(error)
}

func (s *shelf) Open() {}

func (s *shelf) Append(space, topic string, entry []byte, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = append(s.held, held{space, topic, entry, done})
}

func (s *shelf) Trim(string, string, uint64) {}

func (s *shelf) Remove(string, string, func() (uint64, bool)) error { return nil }

func (s *shelf) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// take waits for the next message.
func (s *shelf) take(t *testing.T) held {
	t.Helper()
	waittest.For(t, "a message is to be stored", func() bool { return s.waiting() > 0 })
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held[0]
	s.held = s.held[1:]
	return h
}

// bring delivers a stored message, as every node gets it.
func (s *shelf) bring(t *testing.T, h held) {
	t.Helper()
	s.number++
	if err := s.store.ApplyStored(h.space, h.topic, s.number, time.Now(), h.entry); err != nil {
		t.Error(err)
	}
}

// storing returns an endpoint on which topics that begin with "kept" are durable. Clients
// of "/loop" and "/goroutine" relay what they push.
func storing(t *testing.T) (*channelstest.Endpoint, *shelf) {
	t.Helper()
	s := &shelf{store: history.NewStore(history.Options{})}
	t.Cleanup(s.store.Close)
	s.store.Persist(s)
	s.store.BindStream(1)
	s.store.SetLoaded(0)
	space, err := s.store.Space("", []history.Rule{{Topics: []string{"kept*"}, Durable: true}})
	if err != nil {
		t.Fatal(err)
	}
	e := channelstest.Start(t, channels.Options{History: space})
	for _, onLoop := range []bool{true, false} {
		ch := channels.Handle("*", func(c *channels.Context, p struct{ Self *bool }) (channels.NoReply, error) {
			c.Assign("self", p.Self == nil || *p.Self)
			return channels.NoReply{}, nil
		})
		ch.OnAny(func(c *channels.Context, event string, p channels.Payload) (channels.Reply, error) {
			relay := c.Relay
			if c.Get("self") == false {
				relay = c.RelayFrom
			}
			if event == "twice" {
				if err := relay(event, p); err != nil {
					return channels.Reply{}, err
				}
			}
			return channels.Reply{Status: "ok", Response: p}, relay(event, p)
		})
		path := "/goroutine"
		if onLoop {
			path = "/loop"
			ch.OnLoop()
		}
		e.Socket(path, channels.SocketOptions{}, ch)
	}
	return e, s
}

var one = map[string]any{"n": 1}

// TestStoredFirst: a reply waits until the message is stored, and for nothing else; nobody
// else waits. A message that is not stored is refused with the reason.
func TestStoredFirst(t *testing.T) {
	for _, path := range []string{"/loop", "/goroutine"} {
		t.Run(path, func(t *testing.T) {
			e, s := storing(t)
			client := channelstest.Connect(t, e, path)
			kept, other := client.Join("kept:1", struct{}{}), client.Join("other", struct{}{})
			listener := channelstest.Connect(t, e, path).Join("kept:1", struct{}{})
			first := kept.Push("msg", one)
			h := s.take(t)
			other.Push("msg", one).AssertReply("ok", one) // the loop and the socket go on
			second := kept.Push("msg", map[string]any{"n": 2})
			h2 := s.take(t)
			first.RefuteReply()
			listener.RefutePush("msg", nil)
			h.done(nil)
			first.AssertReply("ok", one)
			s.bring(t, h)
			listener.AssertBroadcast("msg", one)
			kept.AssertBroadcast("msg", one)
			second.RefuteReply()
			s.bring(t, h2) // may come before the answer
			listener.AssertBroadcast("msg", map[string]any{"n": 2})
			h2.done(errors.New("the disk is full"))
			second.AssertReply("error", map[string]any{"reason": "not stored: the disk is full"})

			twice := kept.Push("twice", one)
			h, h2 = s.take(t), s.take(t)
			h2.done(nil)
			twice.RefuteReply()
			h.done(nil)
			twice.AssertReply("ok", one)
			twice = kept.Push("twice", one)
			h, h2 = s.take(t), s.take(t)
			h2.done(errors.New("no"))
			h.done(nil)
			twice.AssertReply("error", map[string]any{"reason": "not stored: no"})
			kept.Push("msg", one)
			h = s.take(t)
			client.Close()
			waittest.For(t, "the client is gone", func() bool { return e.Stats().Sockets == 1 })
			h.done(nil) // nobody waits any more
		})
	}
}

// TestStoredFrom: a client that does not want its own messages does not get them when
// they come back, nor in a replay; others do.
func TestStoredFrom(t *testing.T) {
	e, s := storing(t)
	client := channelstest.Connect(t, e, "/loop")
	own, same := client.Join("kept:1", map[string]any{"self": false}), channelstest.Connect(t, e, "/goroutine").Join("kept:1", map[string]any{"self": false})
	push := own.Push("msg", one)
	h := s.take(t)
	s.bring(t, h)
	h.done(nil)
	push.AssertReply("ok", one)
	same.AssertBroadcast("msg", one)
	push = same.Push("msg", map[string]any{"n": 2})
	h = s.take(t)
	s.bring(t, h)
	h.done(nil)
	push.AssertReply("ok", nil)
	own.AssertBroadcast("msg", map[string]any{"n": 2})
	own.RefutePush("msg", one)
	late := channelstest.Connect(t, e, "/loop").Join("kept:1", map[string]any{"history": map[string]any{"last": 5}})
	late.AssertBroadcast("msg", one)
	late.AssertBroadcast("msg", map[string]any{"n": 2})
}

// TestBroadcastStored: a program may wait for its broadcast, or not.
func TestBroadcastStored(t *testing.T) {
	e, s := storing(t)
	listener := channelstest.Connect(t, e, "/loop").Join("kept:1", struct{}{})
	if err := e.Broadcast("kept:1", "msg", one); err != nil {
		t.Fatal(err)
	}
	h := s.take(t)
	h.done(errors.New("nobody waits for this"))
	s.bring(t, h)
	listener.AssertBroadcast("msg", one)
	answer := make(chan error, 1)
	go func() { answer <- e.BroadcastStored(t.Context(), "kept:1", "msg", one) }()
	h = s.take(t)
	h.done(errors.New("no"))
	if err := <-answer; !errors.Is(err, channels.ErrNotStored) || !strings.HasSuffix(err.Error(), ": no") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { answer <- e.BroadcastStored(ctx, "kept:1", "msg", one) }()
	h = s.take(t)
	cancel()
	if err := <-answer; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	h.done(nil)
	if err := e.BroadcastStored(t.Context(), "kept:1", "msg", 5); !errors.Is(err, channels.ErrNotObject) || s.waiting() > 0 {
		t.Error(err)
	}
	if err := e.BroadcastStored(t.Context(), "other", "msg", one); err != nil || s.waiting() > 0 {
		t.Error(err)
	}
}
