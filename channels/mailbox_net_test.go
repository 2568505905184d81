package channels_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// gated is a channel whose event "block" waits until the gate is closed.
func gated(gate chan struct{}, ended chan<- error) *channels.Channel {
	ch := channels.Handle("gated:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	})
	channels.On(ch, "block", func(*channels.Context, text) (text, error) { <-gate; return text{}, nil })
	channels.On(ch, "echo", func(_ *channels.Context, m text) (text, error) { return m, nil })
	channels.Info(ch, func(*channels.Context, tick) error { return nil })
	channels.Intercept(ch, "out", func(c *channels.Context, m text) error { return c.Push("out", m) })
	ch.Terminate(func(_ *channels.Context, reason error) { ended <- reason })
	return ch
}

// TestSecondJoin checks that a second join ends the first one's channel, whose
// waiting pushes are not answered.
func TestSecondJoin(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		gate, ended := make(chan struct{}), make(chan error, 1)
		ch, blocks := gated(gate, ended), make(chan struct{})
		channels.On(ch, "block and tell", func(*channels.Context, text) (text, error) { close(blocks); <-gate; return text{}, nil })
		s := serve(t, o, channels.SocketOptions{}, ch)
		p := s.dial(t)
		first := p.join("gated:1", "{}")
		p.push(first, "gated:1", "block and tell", "{}")
		<-blocks // or the second join would not wait
		waits := p.push(first, "gated:1", "echo", `{"body":"waits"}`)
		second := p.push("2nd", "gated:1", "phx_join", "{}")
		p.assertReply("", "phoenix", "heartbeat", "{}", "ok", "{}") // the join has begun
		close(gate)
		if m := p.await("phx_reply"); m.ref != second || m.status != "ok" {
			t.Fatalf("%v, want the reply to the second join, %s", m, second)
		}
		p.assertNext(first, "gated:1", "phx_close", "{}")
		if err := <-ended; !errors.Is(err, channels.ErrRejoined) {
			t.Errorf("the first channel ended by %v", err)
		}
		echo := p.push("2nd", "gated:1", "echo", `{"body":"new"}`)
		if m := p.await("phx_reply"); m.ref != echo {
			t.Errorf("%v, want the reply to %s and none to %s", m, echo, waits)
		}
	})
}

// A burst of more than a mailbox takes: nothing is lost, the socket is not read
// meanwhile, its silence is not held against it, and nobody else waits.
func TestMailboxFull(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		const burst = 500
		o.Loops, o.Limits.MailboxMessages, o.Limits.MailboxWait = 1, 100, time.Minute
		gate := make(chan struct{})
		const idle = shortLimit
		s := serve(t, o, channels.SocketOptions{}, room())
		s.Socket("/impatient", channels.SocketOptions{IdleTimeout: idle}, gated(gate, make(chan error, 9)))
		p := s.dialTarget(t, "/impatient/websocket?vsn=2.0.0", nil)
		ref := p.join("gated:1", "{}")
		p.push(ref, "gated:1", "block", "{}")
		var texts []string
		for i := range burst {
			texts = append(texts, p.text(ref, strconv.Itoa(1000+i), "gated:1", "echo", fmt.Sprintf(`{"body":"%d"}`, i)))
		}
		written := make(chan error, 1)
		go func() {
			for _, text := range texts {
				if err := p.WriteText(text); err != nil {
					written <- err
					return
				}
			}
			written <- nil
		}()
		waitFor(t, "the socket to be held up", func() bool { return s.Stats().HeldUp > 0 })
		stop := chat(t, s)
		other := s.dial(t)
		free := other.join("room:free", "{}")
		for begun := time.Now(); time.Since(begun) < idle+idle/5; time.Sleep(50 * time.Millisecond) {
			other.assertReply(free, "room:free", "echo", "[1]", "ok", "[1]")
		}
		stop()
		close(gate)
		for i := -1; i < burst; {
			m, err := p.read()
			if err != nil {
				t.Fatalf("behind answer %d: %v", i, err)
			}
			if m.topic == "phoenix" {
				continue
			}
			if i%50 == 0 { // what it reads may take it longer than it may be silent
				p.push("", "phoenix", "heartbeat", "{}")
			}
			if want := fmt.Sprintf(`{"body":"%d"}`, i); m.status != "ok" || i >= 0 && string(m.response) != want {
				t.Fatalf("got %v, want the answer %s", m, want)
			}
			i++
		}
		if err := <-written; err != nil {
			t.Error(err)
		}
		if n := s.Stats().MailboxFull; n != 0 {
			t.Errorf("%d messages were not taken", n)
		}
	})
}

// The POST of a long-polling client waits when what it brings fills a mailbox,
// and the session is polled meanwhile.
func TestMailboxFullOfPosts(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		const burst = 300
		o.Limits.MailboxMessages = 10
		gate := make(chan struct{})
		s := serve(t, o, channels.SocketOptions{LongPoll: longPolling}, gated(gate, make(chan error, 9)), room())
		c := s.polls(t)
		c.join("gated:1")
		c.post(`["1","2","gated:1","block",{}]`)
		var texts []string
		for i := range burst {
			texts = append(texts, fmt.Sprintf(`["1","%d","gated:1","echo",{"body":"%d"}]`, 1000+i, i))
		}
		posted := make(chan lpAnswer, 1)
		poster := *c // its token stays good
		go func() {
			a, err := poster.request(t.Context(), "POST", strings.Join(texts, "\n"), ndjson)
			if err != nil {
				a.raw = err.Error()
			}
			posted <- a
		}()
		waitFor(t, "the session to be held up", func() bool { return s.Stats().HeldUp > 0 })
		select {
		case a := <-posted:
			t.Errorf("the POST was answered at once: %s", a.raw)
		default:
		}
		close(gate)
		c.assertNext("1", "2", "gated:1", "phx_reply", `ok {"body":""}`)
		for i := range burst {
			c.assertNext("1", strconv.Itoa(1000+i), "gated:1", "phx_reply", fmt.Sprintf(`ok {"body":"%d"}`, i))
		}
		if a := <-posted; a.raw != `{"status":200}` {
			t.Errorf("POST: %s", a.raw)
		}
	})
}

// A mailbox that stays full ends its channel, and that alone: the client is told,
// joins again, and the socket is read again.
func TestMailboxFullForTooLong(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Limits.MailboxMessages, o.Limits.MailboxWait = 10, 100*time.Millisecond
		gate, ended := make(chan struct{}), make(chan error, 9)
		s := serve(t, o, channels.SocketOptions{}, gated(gate, ended), room())
		p := s.dial(t)
		witness := p.join("room:witness", "{}")
		ref := p.join("gated:1", "{}")
		p.push(ref, "gated:1", "block", "{}")
		for range 20 {
			p.push(ref, "gated:1", "echo", "{}")
		}
		m := p.await("phx_error")
		if m.joinRef != ref || string(m.payload) != `{"reason":"channel overloaded"}` {
			t.Errorf("got %v", m)
		}
		p.assertReply(witness, "room:witness", "echo", "[1]", "ok", "[1]")
		again := p.join("gated:1", "{}") // although the callback still hangs
		p.assertReply(again, "gated:1", "echo", `{"body":"back"}`, "ok", `{"body":"back"}`)
		close(gate)
		if reason := <-ended; !errors.Is(reason, channels.ErrMailboxFull) {
			t.Errorf("ended with %v", reason)
		}
		if n := s.Stats().MailboxFull; n < 10 {
			t.Errorf("%d messages counted that were not handled", n)
		}
	})
}

// What comes for a topic while its join is under way has the same bounds.
func TestMailboxFullWhileJoining(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Limits.MailboxMessages, o.Limits.JoinTimeout = 10, -1
		for name, wait := range map[string]time.Duration{"answered": 0, "for too long": 50 * time.Millisecond} {
			gate := make(chan struct{})
			ch := channels.Handle("slow:*", func(*channels.Context, text) (text, error) { <-gate; return text{}, nil })
			channels.On(ch, "echo", func(_ *channels.Context, m text) (text, error) { return m, nil })
			o.Limits.MailboxWait = wait
			s := serve(t, o, channels.SocketOptions{}, ch, room())
			p := s.dial(t)
			texts := []string{p.text("1", "1", "slow:1", "phx_join", "{}")}
			for i := range 100 {
				texts = append(texts, p.text("1", strconv.Itoa(100+i), "slow:1", "echo", fmt.Sprintf(`{"body":"%d"}`, i)))
			}
			if err := p.WriteRaw(frames(texts...)); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the socket to be held up", func() bool { return s.Stats().HeldUp > 0 })
			status, response := "ok", `{"body":"0"}`
			if wait > 0 {
				status, response = "error", `{"reason":"unmatched topic"}`
			} else {
				close(gate)
			}
			m, err := p.read()
			if err != nil || m.ref != "1" || m.status != status || wait > 0 && string(m.response) != `{"reason":"channel overloaded"}` {
				t.Fatalf("%s: the join was answered %v, %v", name, m, err)
			}
			for i := range 100 {
				if wait == 0 {
					response = fmt.Sprintf(`{"body":"%d"}`, i)
				}
				if m, err := p.read(); err != nil || m.ref != strconv.Itoa(100+i) || m.status != status || string(m.response) != response {
					t.Fatalf("%s: answer %d: %v, %v", name, i, m, err)
				}
			}
			if wait > 0 {
				close(gate)
			}
		}
	})
}

// A join that pushes without end is given up when it has pushed as much as may wait for a
// connection, and its socket goes on.
func TestJoinPushesTooMuch(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Limits.OutboundBytes = 64 << 10
		pushed := make(chan error, 1)
		endless := channels.Handle("endless", func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
			body := text{strings.Repeat("x", 1000)}
			for c.Err() == nil {
				if err := c.Push("more", body); err != nil {
					t.Error(err)
				}
			}
			pushed <- context.Cause(c)
			return channels.NoReply{}, nil
		})
		much := channels.Handle("much", func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
			for range 50 {
				if err := c.Push("more", text{strings.Repeat("x", 1000)}); err != nil {
					return channels.NoReply{}, err
				}
			}
			return channels.NoReply{}, nil
		})
		s := serve(t, o, channels.SocketOptions{}, endless, much)
		p := s.dial(t)
		p.assertReply("1", "endless", "phx_join", "{}", "error", `{"reason":"channel overloaded"}`)
		if err := <-pushed; err == nil || !strings.Contains(err.Error(), "pushed more than Limits.OutboundBytes") {
			t.Errorf("the callback was ended by %v", err)
		}
		p.join("much", "{}")
		for range 50 {
			if m := p.await("more"); m.topic != "much" {
				t.Fatalf("got %v", m)
			}
		}
		p.assertReply("", "phoenix", "heartbeat", "{}", "ok", "{}")
	})
}

// A broadcast that an interceptor's mailbox does not take ends the channel: the
// client would miss it and not know.
func TestMailboxFullOfBroadcasts(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Limits.MailboxMessages = 10
		gate, ended := make(chan struct{}), make(chan error, 9)
		s := serve(t, o, channels.SocketOptions{}, gated(gate, ended), room())
		p := s.dial(t)
		ref := p.join("gated:1", "{}")
		p.push(ref, "gated:1", "block", "{}")
		waitFor(t, "the callback to block", func() bool { return s.Stats().Callbacks > 0 })
		for range 20 {
			if err := s.Broadcast("gated:1", "out", text{}); err != nil {
				t.Fatal(err)
			}
		}
		if m := p.await("phx_error"); m.joinRef != ref || string(m.payload) != `{"reason":"channel overloaded"}` {
			t.Errorf("got %v", m)
		}
		close(gate)
		if reason := <-ended; !errors.Is(reason, channels.ErrMailboxFull) {
			t.Errorf("ended with %v", reason)
		}
	})
}

// The program's own messages are refused by a full mailbox, its timers are not.
func TestMailboxFullForTheProgram(t *testing.T) {
	gate := make(chan struct{})
	var ticks atomic.Int32
	members := make(chan *channels.Context, 1)
	ch := channels.Handle("gated:*", func(c *channels.Context, _ text) (text, error) { members <- c; return text{}, nil })
	entered := make(chan struct{})
	channels.On(ch, "block", func(*channels.Context, text) (text, error) { close(entered); <-gate; return text{}, nil })
	channels.Info(ch, func(*channels.Context, tick) error { ticks.Add(1); return nil })
	s := serve(t, channels.Options{Limits: channels.Limits{MailboxMessages: 10}}, channels.SocketOptions{}, ch)
	p := s.dial(t)
	ref := p.join("gated:1", "{}")
	c := <-members
	p.push(ref, "gated:1", "block", "{}")
	<-entered // Stats().Callbacks might count the join still
	var err error
	sent := int32(0)
	for ; err == nil; sent++ {
		err = c.Send(tick{})
	}
	if !errors.Is(err, channels.ErrMailboxFull) || sent < 11 {
		t.Errorf("message %d: %v", sent, err)
	}
	for range 5 {
		c.SendAfter(0, tick{})
	}
	time.Sleep(5 * time.Millisecond) // not needed, but then the timers meet the full mailbox
	close(gate)
	waitFor(t, "all messages", func() bool { return ticks.Load() == sent-1+5 })
}

// A message's ref and event count against the mailbox, as its payload does.
func TestMailboxFullOfNames(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		o.Loops, o.Limits.MailboxBytes = 1, 1<<20
		gate := make(chan struct{})
		s := serve(t, o, channels.SocketOptions{}, gated(gate, make(chan error, 9)))
		p := s.dial(t)
		ref := p.join("gated:1", "{}")
		p.push(ref, "gated:1", "block", "{}")
		const burst, size = 40, 100_000
		written := make(chan error, 1)
		go func() {
			for i := range burst {
				if err := p.WriteText(p.text(ref, fmt.Sprint(i)+strings.Repeat("r", size), "gated:1", "echo", `{"body":""}`)); err != nil {
					written <- err
					return
				}
			}
			written <- nil
		}()
		waitFor(t, "the socket to be held up", func() bool { return s.Stats().HeldUp > 0 })
		if n := s.Stats().MailboxHigh; n > 1<<20/size+2 {
			t.Errorf("%d messages of %d bytes wait in a mailbox of 1 MiB", n, size)
		}
		close(gate)
		for range burst + 1 {
			if _, err := p.read(); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-written; err != nil {
			t.Error(err)
		}
	})
}

// A few bytes that were read at once may be many large messages: none beyond the
// one that a mailbox has no room for is decompressed before there is room again.
func TestMailboxFullOfBombs(t *testing.T) {
	bothSlow(t, func(t *testing.T, o channels.Options) {
		o.Loops, o.Limits.MailboxBytes = 1, 128<<10
		gate := make(chan struct{})
		s := serve(t, o, compressing, gated(gate, make(chan error, 9)))
		p := s.dialTarget(t, "/socket/websocket?vsn=2.0.0", offering(deflateName))
		ref := p.join("gated:1", "{}")
		p.push(ref, "gated:1", "block", "{}")
		const burst = 20
		var all []byte
		for i := range burst {
			payload := fmt.Sprintf(`{"body":%q}`, strings.Repeat("0", 112_500))
			var err error
			if all, err = wstest.AppendCompressed(all, ws.OpText, []byte(p.text(ref, fmt.Sprint(100+i), "gated:1", "echo", payload))); err != nil {
				t.Fatal(err)
			}
		}
		if len(all) > 60<<10 {
			t.Fatalf("%d bytes are too much for one read", len(all))
		}
		if err := p.WriteRaw(all); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the socket to be held up", func() bool { return s.Stats().HeldUp > 0 })
		if n := s.Stats().MailboxHigh; n > 3 {
			t.Errorf("%d messages of 112 kB wait in a mailbox of 128 KiB", n)
		}
		close(gate)
		for i := -1; i < burst; i++ {
			m, err := p.read()
			if err != nil || m.status != "ok" || i >= 0 && m.ref != fmt.Sprint(100+i) {
				t.Fatalf("behind answer %d: %v, %v", i, m.ref, err)
			}
		}
	})
}
