package channels_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// What one client or one callback does wrong hurts nobody else.

// chatter is a well-behaved client that pushes echoes and broadcasts all the
// time, and reports anything that is lost, late or out of order.
type chatter struct {
	*peer
	joinRef string
	topic   string
	rounds  int
	errs    chan error
}

const chatTopic = "room:chat"

// chat starts one client a loop, all on one topic. stop ends them and checks
// what they have seen.
func chat(t testing.TB, s *server) (stop func()) {
	t.Helper()
	quit := make(chan struct{})
	var all []*chatter
	for i := range 2 {
		c := &chatter{peer: s.dial(t), topic: fmt.Sprintf("%s%d", chatTopic, i), errs: make(chan error, 1)}
		c.joinRef = c.join(c.topic, "{}")
		all = append(all, c)
		go func() { c.errs <- c.talk(quit) }()
	}
	return func() {
		t.Helper()
		close(quit)
		for _, c := range all {
			if err := <-c.errs; err != nil {
				t.Errorf("the well-behaved client in round %d: %v", c.rounds, err)
			}
			c.Drop()
		}
	}
}

func (c *chatter) talk(quit chan struct{}) error {
	for {
		select {
		case <-quit:
			return nil
		default:
		}
		if err := c.round(); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// round is one broadcast and one echo; the broadcast comes first.
func (c *chatter) round() error {
	c.rounds++
	body := fmt.Sprintf(`{"body":"%s %d"}`, c.topic, c.rounds)
	if _, err := c.send(c.joinRef, c.topic, "shout", body); err != nil {
		return err
	}
	ref, err := c.send(c.joinRef, c.topic, "echo", body)
	if err != nil {
		return err
	}
	shout, err := c.read()
	if err != nil || shout.event != "shout" || string(shout.payload) != body {
		return fmt.Errorf("got %v, %w, want the broadcast %s", shout, err, body)
	}
	echo, err := c.read()
	if err != nil || echo.ref != ref || echo.status != "ok" || string(echo.response) != body {
		return fmt.Errorf("got %v, %w, want the reply %s", echo, err, body)
	}
	return nil
}

// blocking has a callback of each kind that waits for release.
func blocking(release chan struct{}, entered *atomic.Int32) *channels.Channel {
	wait := func() { entered.Add(1); <-release }
	ch := channels.Handle("block:*", func(c *channels.Context, p text) (text, error) {
		if p.Body == "join" {
			wait()
		}
		return p, nil
	})
	channels.On(ch, "event", func(_ *channels.Context, m text) (text, error) { wait(); return m, nil })
	channels.On(ch, "send", func(c *channels.Context, m text) (text, error) { return m, c.Send(tick{1}) })
	channels.On(ch, "echo", func(_ *channels.Context, m text) (text, error) { return m, nil })
	channels.Info(ch, func(*channels.Context, tick) error { wait(); return nil })
	channels.Intercept(ch, "out", func(c *channels.Context, m text) error { wait(); return c.Push("out", m) })
	ch.Terminate(func(c *channels.Context, _ error) {
		if c.Subtopic() == "terminate" {
			wait()
		}
	})
	return ch
}

func TestBlockingCallbacksOverTCP(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Loops, o.Limits.JoinTimeout = 1, -1 // all on one loop, and nothing is given up
		release := make(chan struct{})
		var entered atomic.Int32
		s := serve(t, o, channels.SocketOptions{}, blocking(release, &entered), room())
		p, other := s.dial(t), s.dial(t)
		events, infos := p.join("block:event", "{}"), p.join("block:info", "{}")
		p.join("block:out", "{}")
		ends := p.join("block:terminate", "{}")
		otherRef := other.join("block:event", "{}")

		event := p.push(events, "block:event", "event", `{"body":"late"}`)
		p.push(infos, "block:info", "send", "{}")
		if err := s.Broadcast("block:out", "out", text{"late"}); err != nil {
			t.Fatal(err)
		}
		join := "j"
		p.write(string(frames(p.text(join, join, "block:join", "phx_join", `{"body":"join"}`))))
		p.push(ends, "block:terminate", "phx_leave", "{}")
		waitFor(t, "all callbacks to block", func() bool { return entered.Load() == 5 })

		// The same client's other topics, the same topic's other clients, new
		// clients and the well-behaved ones go on.
		stop := chat(t, s)
		free := p.join("room:free", "{}")
		for i := range 50 {
			body := fmt.Sprintf(`{"body":"%d"}`, i)
			p.assertReply(free, "room:free", "echo", body, "ok", body)
			other.assertReply(otherRef, "block:event", "echo", body, "ok", body)
		}
		s.dial(t).join("block:new", "{}")
		// A broadcast does not wait for the callback of a receiver.
		if err := s.Broadcast("block:event", "news", text{"now"}); err != nil {
			t.Fatal(err)
		}
		p.await("news")
		stop()

		behind := p.push(events, "block:event", "echo", `{"body":"behind"}`)
		close(release)
		seen := map[string]string{}
		for len(seen) < 4 {
			m, err := p.read()
			if err != nil {
				t.Fatal(err)
			}
			switch m.event {
			case "phx_reply":
				seen[m.ref] = string(m.response)
			case "out":
				seen["out"] = string(m.payload)
			}
		}
		for what, want := range map[string]string{event: `{"body":"late"}`, behind: `{"body":"behind"}`, join: `{"body":"join"}`, "out": `{"body":"late"}`} {
			if seen[what] != want {
				t.Errorf("%s: %s, want %s", what, seen[what], want)
			}
		}
	})
}

var nilText *text

// panicking has a callback of each kind that panics.
func panicking() *channels.Channel {
	ch := channels.Handle("panic:*", func(_ *channels.Context, p text) (text, error) {
		if p.Body == "join" {
			panic("in join")
		}
		return p, nil
	})
	channels.On(ch, "event", func(*channels.Context, text) (text, error) { panic(errors.New("in event")) })
	channels.On(ch, "nil", func(*channels.Context, text) (text, error) { return *nilText, nil })
	channels.On(ch, "marshal", func(*channels.Context, text) (channels.Reply, error) {
		return channels.Reply{Status: "ok", Response: func() {}}, nil
	})
	channels.On(ch, "send", func(c *channels.Context, _ text) (channels.NoReply, error) {
		return channels.NoReply{}, c.Send(tick{1})
	})
	channels.On(ch, "echo", func(_ *channels.Context, m text) (text, error) { return m, nil })
	channels.Info(ch, func(*channels.Context, tick) error { panic("in info") })
	channels.Intercept(ch, "out", func(*channels.Context, text) error { panic("in intercept") })
	ch.Terminate(func(c *channels.Context, _ error) {
		if c.Subtopic() == "terminate" {
			panic("in terminate")
		}
	})
	return ch
}

func TestPanicsOverTCP(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		onLoop := panicking().OnLoop()
		s := serve(t, o, channels.SocketOptions{}, panicking(), room())
		s.Socket("/loop", channels.SocketOptions{}, onLoop, room())
		stop := chat(t, s)
		for _, path := range []string{"/socket", "/loop"} {
			crashes := s.Stats().Crashes
			p := s.dialTarget(t, path+"/websocket?vsn=2.0.0", nil)
			witness := p.join("room:witness", "{}")
			for _, event := range []string{"event", "nil", "marshal", "send", "out", "no such event"} {
				topic := "panic:" + path + event // topics are the endpoint's, not the path's
				ref := p.join(topic, "{}")
				if event == "out" {
					if err := s.Broadcast(topic, "out", text{}); err != nil {
						t.Fatal(err)
					}
				} else {
					p.push(ref, topic, event, "{}")
				}
				m := p.await("phx_error")
				if m.joinRef != ref || m.ref != ref || m.topic != topic || string(m.payload) != `{"reason":"channel_crash"}` {
					t.Errorf("%s %s: %v, want join_ref and ref %s", path, event, m, ref)
				}
				p.assertReply(witness, "room:witness", "echo", "[1]", "ok", "[1]")
				p.assertReply(ref, topic, "echo", "{}", "error", `{"reason":"unmatched topic"}`)
				again := p.join(topic, "{}")
				p.assertReply(again, topic, "echo", `{"body":"back"}`, "ok", `{"body":"back"}`)
			}
			_, reply, err := p.tryJoin("panic:join", `{"body":"join"}`)
			if err != nil || reply.status != "error" || string(reply.response) != `{"reason":"join crashed"}` {
				t.Errorf("%s: a join that panics: %v, %v", path, reply, err)
			}
			ref := p.join("panic:terminate", "{}")
			p.push(ref, "panic:terminate", "phx_leave", "{}")
			p.await("phx_close")
			p.assertReply(witness, "room:witness", "echo", "[2]", "ok", "[2]")
			if n := s.Stats().Crashes - crashes; n != 7 {
				t.Errorf("%s: %d crashes counted, want 7", path, n)
			}
		}
		stop()
	})
}

// A client that never reads loses its connection or messages, and nobody else
// is affected.
func TestSlowReceiver(t *testing.T) {
	for name, policy := range map[string]channels.SlowReceiver{
		"disconnect": channels.DisconnectSlow, "drop oldest": channels.DropOldest, "drop newest": channels.DropNewest,
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, o channels.Options) {
				o.SlowReceiver, o.Limits.OutboundBytes = policy, 1<<20
				ended := make(chan error, 10)
				ch := room()
				ch.Terminate(func(c *channels.Context, reason error) { ended <- reason })
				s := serve(t, o, channels.SocketOptions{}, ch)
				slow := s.dial(t) // with a small receive buffer, TCP would wait for timers below
				slow.join("room:1", "{}")
				testSlowReceiver(t, s, slow, policy)
				if policy == channels.DisconnectSlow {
					if reason := <-ended; !errors.Is(reason, channels.ErrClosed) {
						t.Errorf("the slow receiver's channel ended with %v", reason)
					}
				}
			})
		})
	}
}

func testSlowReceiver(t *testing.T, s *server, slow *peer, policy channels.SlowReceiver) {
	// The readers acknowledge, each for itself, so that none ever has more to
	// take than fits: at most window messages, and one that it has read already
	// but whose write has not been accounted for.
	const window, readers, size = 8, 2, 64 << 10
	acks := make([]chan struct{}, readers)
	last := make(chan int, readers)
	for i := range acks {
		acks[i] = make(chan struct{}, window)
		for range window {
			acks[i] <- struct{}{}
		}
		p := s.dial(t)
		p.join("room:1", "{}")
		go func() { last <- readInOrder(t, p, acks[i]) }()
	}
	stop := chat(t, s)
	sent := publishUntilLost(t, s, acks, size)
	if err := s.Broadcast("room:1", "shout", numbered(lastNumber, 0)); err != nil {
		t.Fatal(err)
	}
	for range readers {
		if n := <-last; n != sent {
			t.Errorf("a reader got %d of %d messages", n, sent)
		}
	}
	stop()
	n := s.Stats().Network
	switch {
	case policy == channels.DisconnectSlow && (n.ClosedSlow != 1 || n.DroppedOldest+n.DroppedNewest != 0),
		policy == channels.DropOldest && (n.DroppedOldest == 0 || n.ClosedSlow != 0),
		policy == channels.DropNewest && (n.DroppedNewest == 0 || n.DroppedOldest+n.ClosedSlow != 0):
		t.Errorf("after %d messages: %+v", sent, n)
	}
	checkSlow(t, s, slow, policy, sent)
}

// lastNumber is the number of the last message.
const lastNumber = 1 << 30

// numbered is the n-th message of a publisher, a large one.
func numbered(n, size int) channels.Binary {
	return append(binary.BigEndian.AppendUint32(nil, uint32(n)), make([]byte, size)...)
}

// readNumber reads the next message and returns its number.
func (p *peer) readNumber() (n int, err error) {
	m, err := p.read()
	if err == nil && len(m.binary) < 4 {
		err = fmt.Errorf("received %v", m)
	}
	if err != nil {
		return 0, err
	}
	return int(binary.BigEndian.Uint32(m.binary)), nil
}

// publishUntilLost sends until the slow receiver has lost something, and some
// more, and returns how many messages it sent.
func publishUntilLost(t *testing.T, s *server, acks []chan struct{}, size int) (sent int) {
	for after := 0; after < 30; sent++ {
		for i := range acks {
			select {
			case <-acks[i]:
			case <-time.After(patience):
				t.Fatalf("message %d: reader %d has not read the one %d before it", sent, i, cap(acks[i]))
			}
		}
		if err := s.Broadcast("room:1", "shout", numbered(sent, size)); err != nil {
			t.Fatal(err)
		}
		n := s.Stats().Network
		if n.ClosedSlow+n.DroppedOldest+n.DroppedNewest > 0 {
			after++
		} else if sent > 2000 {
			t.Fatal("128 MB are queued for a client that does not read")
		}
	}
	return sent
}

// readInOrder reads numbered messages until the last and returns how many
// there were.
func readInOrder(t *testing.T, p *peer, acks chan struct{}) (next int) {
	for {
		n, err := p.readNumber()
		switch {
		case err != nil:
			t.Errorf("a reader behind message %d: %v", next, err)
			return next
		case n == lastNumber:
			return next
		case n != next:
			t.Errorf("message %d, want %d", n, next)
			return next
		}
		next++
		acks <- struct{}{}
	}
}

// checkSlow reads what has waited for the slow receiver, and checks that it is
// whole messages, in order.
func checkSlow(t *testing.T, s *server, slow *peer, policy channels.SlowReceiver, sent int) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() { // once it reads again it gets what is new
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
				s.Broadcast("room:1", "shout", numbered(lastNumber, 0)) // the reader misses it
			}
		}
	}()
	defer func() { close(done); <-ended }()
	seen, last := 0, -1
	for {
		n, err := slow.readNumber()
		if err != nil {
			if policy != channels.DisconnectSlow || isTimeout(err) {
				t.Errorf("the slow receiver: %v", err)
			}
			break
		}
		if n == lastNumber {
			break
		}
		if n <= last {
			t.Fatalf("message %d after %d", n, last)
		}
		seen, last = seen+1, n
	}
	if seen == sent || policy == channels.DropOldest && last != sent-1 {
		t.Errorf("received %d of %d messages, the last is %d", seen, sent, last)
	}
}

// socketHandshake is the request of a client of version 2.
func socketHandshake() string {
	return string(wstest.AppendHandshake(nil, "/socket/websocket?vsn=2.0.0", nil))
}
