package channels_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
)

type joinParams struct {
	Name string `json:"name"`
	Deny string `json:"deny"`
}

type text struct {
	Body string `json:"body"`
}

type tick struct{ n int }

// room has one of everything that a channel can do.
func room() *channels.Channel {
	ch := channels.Handle("room:*", func(c *channels.Context, p joinParams) (map[string]string, error) {
		switch p.Deny {
		case "reason":
			return nil, channels.Errorf("no %s here", p.Name)
		case "crash":
			panic("join panics")
		case "error":
			return nil, errors.New("database is down")
		}
		c.Assign("name", p.Name)
		return map[string]string{"subtopic": c.Subtopic()}, nil
	})
	channels.On(ch, "echo", func(_ *channels.Context, m json.RawMessage) (json.RawMessage, error) { return m, nil })
	channels.On(ch, "bytes", func(_ *channels.Context, m channels.Binary) (channels.Binary, error) { return m, nil })
	channels.On(ch, "shout", func(c *channels.Context, m text) (channels.NoReply, error) {
		return channels.NoReply{}, c.Broadcast("shout", m)
	})
	channels.On(ch, "shout_from", func(c *channels.Context, m text) (channels.NoReply, error) {
		return channels.NoReply{}, c.BroadcastFrom("shout", m)
	})
	channels.On(ch, "fail", func(_ *channels.Context, m text) (text, error) { return m, channels.Errorf("not %s", m.Body) })
	channels.On(ch, "break", func(_ *channels.Context, m text) (text, error) { return m, errors.New("secret detail") })
	channels.On(ch, "custom", func(_ *channels.Context, m text) (channels.Reply, error) {
		return channels.Reply{Status: "maybe", Response: []any{1, m.Body}}, nil
	})
	channels.On(ch, "crash", func(*channels.Context, text) (text, error) { panic("boom") })
	channels.On(ch, "stop", func(c *channels.Context, m text) (text, error) {
		if m.Body != "" {
			c.Stop(errors.New(m.Body))
		} else {
			c.Stop(nil)
		}
		return m, nil
	})
	channels.On(ch, "later", func(c *channels.Context, _ text) (channels.NoReply, error) {
		ref := c.Ref()
		time.AfterFunc(10*time.Millisecond, func() { ref.Reply("ok", text{"late"}) }) // seen by its absence
		return channels.NoReply{}, nil
	})
	channels.On(ch, "tick", func(c *channels.Context, _ text) (channels.NoReply, error) {
		c.SendAfter(5*time.Millisecond, tick{1})
		return channels.NoReply{}, c.Send(tick{0})
	})
	channels.Info(ch, func(c *channels.Context, t tick) error { return c.Push("tick", map[string]int{"n": t.n}) })
	channels.Intercept(ch, "secret", func(c *channels.Context, m text) error {
		if c.Get("name") == m.Body {
			return nil
		}
		return c.Push("secret", map[string]any{"body": m.Body, "for": c.Get("name")})
	})
	channels.On(ch, "secret", func(c *channels.Context, m text) (channels.NoReply, error) {
		return channels.NoReply{}, c.Broadcast("secret", m)
	})
	return ch
}

func start(t *testing.T, o channels.Options, chs ...*channels.Channel) *channelstest.Endpoint {
	t.Helper()
	e := channelstest.Start(t, o)
	e.Socket("/socket", channels.SocketOptions{Connect: func(_ context.Context, s *channels.Socket, r *channels.Request) error {
		if r.Params.Get("refuse") != "" {
			return errors.New("refused")
		}
		if user := r.Params.Get("user"); user != "" {
			s.SetID("user:" + user)
			s.Assign("user", user)
		}
		return nil
	}}, chs...)
	return e
}

func TestJoin(t *testing.T) {
	e := start(t, channels.Options{}, room())
	c := channelstest.Connect(t, e, "/socket")
	_, reply := c.TryJoin("room:a:b", nil)
	wantReply(t, reply, "ok", `{"subtopic":"a:b"}`)
	_, reply = c.TryJoin("room:x", joinParams{Name: "cats", Deny: "reason"})
	wantReply(t, reply, "error", `{"reason":"no cats here"}`)
	_, reply = c.TryJoin("room:x", joinParams{Deny: "crash"})
	wantReply(t, reply, "error", `{"reason":"join crashed"}`)
	_, reply = c.TryJoin("room:x", joinParams{Deny: "error"})
	wantReply(t, reply, "error", `{"reason":"join crashed"}`)
	_, reply = c.TryJoin("room", nil)
	wantReply(t, reply, "error", `{"reason":"unmatched topic"}`)
	_, reply = c.TryJoin("room:x", map[string]int{"name": 1})
	wantReply(t, reply, "error", `{"reason":"invalid payload: \"name\" is a JSON number where a string belongs"}`)
}

func wantReply(t *testing.T, got channelstest.Reply, status, response string) {
	t.Helper()
	if got.Status != status || string(got.Response) != response {
		t.Errorf("reply %s %s, want %s %s", got.Status, got.Response, status, response)
	}
}

func TestEvents(t *testing.T) {
	e := start(t, channels.Options{}, room())
	a := channelstest.Connect(t, e, "/socket").Join("room:1", joinParams{Name: "ada"})
	b := channelstest.Connect(t, e, "/socket").Join("room:1", joinParams{Name: "bob"})
	other := channelstest.Connect(t, e, "/socket").Join("room:2", nil)

	a.Push("echo", []int{1, 2}).AssertReply("ok", []int{1, 2})
	a.Push("bytes", channels.Binary{0, 255}).AssertReply("ok", channels.Binary{0, 255})
	a.Push("bytes", text{}).AssertReply("error", map[string]string{"reason": "invalid payload: this event takes bytes, not JSON"})
	a.Push("fail", text{"today"}).AssertReply("error", map[string]string{"reason": "not today"})
	a.Push("break", nil).AssertReply("error", map[string]string{"reason": "internal error"})
	a.Push("custom", text{"x"}).AssertReply("maybe", []any{1, "x"})
	a.Push("later", nil).AssertReply("ok", text{"late"})

	shout := a.Push("shout", text{"hi"})
	a.AssertBroadcast("shout", text{"hi"})
	b.AssertBroadcast("shout", text{"hi"})
	shout.RefuteReply()
	a.Push("shout_from", text{"psst"})
	b.AssertPush("shout", text{"psst"})
	a.RefutePush("shout", nil)
	other.RefutePush("shout", nil)

	a.Push("tick", nil)
	a.AssertPush("tick", map[string]int{"n": 0})
	a.AssertPush("tick", map[string]int{"n": 1})

	a.Push("secret", text{"bob"})
	a.AssertPush("secret", map[string]string{"body": "bob", "for": "ada"})
	b.RefutePush("secret", nil)
	b.Leave()
	b.Push("echo", nil).AssertReply("error", map[string]string{"reason": "unmatched topic"})
}

func TestEnds(t *testing.T) {
	var mu sync.Mutex
	reasons := map[string]error{}
	hooks := map[string]string{}
	ch := room()
	ch.Terminate(func(c *channels.Context, reason error) {
		mu.Lock()
		defer mu.Unlock()
		reasons[c.Topic()] = reason
		if context.Cause(c) != reason {
			t.Errorf("%s: cause %v, reason %v", c.Topic(), context.Cause(c), reason)
		}
	})
	channels.On(ch, "hook", func(c *channels.Context, _ text) (text, error) {
		for _, name := range []string{"1", "2", "3"} {
			c.OnEnd(func() { mu.Lock(); hooks[c.Topic()] += name; mu.Unlock() })
		}
		return text{}, nil
	})
	e := start(t, channels.Options{}, ch)
	client := channelstest.Connect(t, e, "/socket?user=ada")
	end := map[string]func(*channelstest.Channel){
		"room:stop":  func(c *channelstest.Channel) { c.Push("stop", nil).AssertReply("ok", nil); c.AssertClose() },
		"room:fail":  func(c *channelstest.Channel) { c.Push("stop", text{"bad"}).AssertReply("ok", nil); c.AssertError() },
		"room:crash": func(c *channelstest.Channel) { c.Push("crash", nil); c.AssertError() },
		"room:none":  func(c *channelstest.Channel) { c.Push("no_such_event", nil); c.AssertError() },
		"room:leave": func(c *channelstest.Channel) { c.Leave() },
		"room:again": func(c *channelstest.Channel) { client.Join("room:again", nil); c.AssertClose() },
		"room:close": func(*channelstest.Channel) {},
	}
	for topic, f := range end {
		c := client.Join(topic, nil)
		c.Push("hook", nil).AssertReply("ok", nil)
		f(c)
	}
	rejoined := func() error { mu.Lock(); defer mu.Unlock(); return reasons["room:again"] }
	waitFor(t, "Terminate of the replaced channel", func() bool { return errors.Is(rejoined(), channels.ErrRejoined) })
	if err := e.Disconnect("user:ada"); err != nil {
		t.Fatal(err)
	}
	client.AssertClosed(1001)
	waitFor(t, "all channels to terminate", func() bool {
		mu.Lock()
		defer mu.Unlock()
		ran := 0
		for _, names := range hooks {
			ran += len(names)
		}
		return len(reasons) == len(end) && ran >= 3*len(end) && errors.Is(reasons["room:again"], channels.ErrClosed)
	})
	var crashed *channels.PanicError
	for topic, want := range map[string]error{"room:stop": channels.ErrStopped, "room:leave": channels.ErrLeft, "room:close": channels.ErrClosed} {
		if !errors.Is(reasons[topic], want) {
			t.Errorf("%s ended with %v, want %v", topic, reasons[topic], want)
		}
	}
	if !errors.As(reasons["room:crash"], &crashed) || crashed.Value != "boom" || !strings.Contains(string(crashed.Stack), "channel_test.go") {
		t.Errorf("crash ended with %v", reasons["room:crash"])
	}
	if reasons["room:fail"] == nil || reasons["room:fail"].Error() != "bad" {
		t.Errorf("stop with an error ended with %v", reasons["room:fail"])
	}
	for topic, names := range hooks {
		if names != "123" {
			t.Errorf("%s: OnEnd ran %s, want each once and in order", topic, names)
		}
	}
}

var waitFor = waittest.For

// A callback that blocks holds up its own channel and nobody else.
func TestBlockingCallback(t *testing.T) {
	release := make(chan struct{})
	ch := room()
	channels.On(ch, "block", func(*channels.Context, text) (text, error) { <-release; return text{"done"}, nil })
	slow := channels.Handle("slow:*", func(*channels.Context, text) (text, error) { <-release; return text{}, nil })
	e := start(t, channels.Options{Loops: 1}, ch, slow)
	client := channelstest.Connect(t, e, "/socket")
	blocked, free := client.Join("room:blocked", nil), client.Join("room:free", nil)
	stranger := channelstest.Connect(t, e, "/socket").Join("room:blocked", nil)

	block := blocked.Push("block", nil)
	behind := blocked.Push("echo", text{"behind"})
	joined := make(chan channelstest.Reply)
	go func() { _, reply := client.TryJoin("slow:1", nil); joined <- reply }()
	for i := range 20 {
		free.Push("echo", text{fmt.Sprint(i)}).AssertReply("ok", text{fmt.Sprint(i)})
		stranger.Push("shout", text{fmt.Sprint(i)})
		blocked.AssertPush("shout", text{fmt.Sprint(i)}) // broadcasts do not wait for the callback either
	}
	select {
	case <-joined:
		t.Error("the slow join was answered while it blocked")
	default:
	}
	close(release)
	block.AssertReply("ok", text{"done"})
	behind.AssertReply("ok", text{"behind"})
	if reply := <-joined; reply.Status != "ok" {
		t.Errorf("slow join: %s %s", reply.Status, reply.Response)
	}
}

func TestJoinTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		ch := channels.Handle("slow:*", func(c *channels.Context, p joinParams) (text, error) {
			if p.Name == "slow" {
				<-c.Done()
			}
			return text{p.Name}, nil
		})
		ch.Terminate(func(_ *channels.Context, reason error) { ended <- reason })
		e := start(t, channels.Options{Limits: channels.Limits{JoinTimeout: 3 * time.Second}}, ch)
		client := channelstest.Connect(t, e, "/socket")
		began := time.Now()
		_, reply := client.TryJoin("slow:1", joinParams{Name: "slow"})
		wantReply(t, reply, "error", `{"reason":"join timeout"}`)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("answered after %v", took)
		}
		if err := <-ended; !errors.Is(err, channels.ErrJoinTimeout) {
			t.Errorf("terminated with %v", err)
		}
		client.Join("slow:1", nil) // the topic is free again
	})
}

// One timer serves all joins of a loop. Each join is still given up at its own
// time, whatever came before it.
func TestJoinTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit = 3 * time.Second
		ch := channels.Handle("slow:*", func(c *channels.Context, _ joinParams) (text, error) {
			<-c.Done()
			return text{}, nil
		})
		e := start(t, channels.Options{Loops: 1, Limits: channels.Limits{JoinTimeout: limit}}, ch, room())
		var answered sync.WaitGroup
		for range 4 {
			client := channelstest.Connect(t, e, "/socket")
			answered.Go(func() {
				began := time.Now()
				_, reply := client.TryJoin("slow:1", nil)
				wantReply(t, reply, "error", `{"reason":"join timeout"}`)
				if took := time.Since(began); took != limit {
					t.Errorf("answered after %v", took)
				}
			})
			client.Join("room:1", nil) // answered at once, between those that are not
			time.Sleep(limit/3 + time.Millisecond)
		}
		answered.Wait()
		time.Sleep(limit) // the timer is off; the next join has it fire again
		client := channelstest.Connect(t, e, "/socket")
		_, reply := client.TryJoin("slow:1", nil)
		wantReply(t, reply, "error", `{"reason":"join timeout"}`)
	})
}

func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := channelstest.Start(t, channels.Options{})
		// Shorter than the interval of the test clients' own heartbeats.
		e.Socket("/socket", channels.SocketOptions{IdleTimeout: 20 * time.Second}, room())
		silent, alive := channelstest.Connect(t, e, "/socket"), channelstest.Connect(t, e, "/socket")
		c := alive.Join("room:1", nil)
		for range 3 {
			time.Sleep(10 * time.Second)
			c.Push("echo", text{"heartbeat"}).AssertReply("ok", nil)
		}
		silent.AssertClosed(1002)
	})
}

// While a join is under way, what comes for its topic waits for it.
func TestMessagesWaitForJoin(t *testing.T) {
	release := make(chan struct{})
	ch := channels.Handle("slow:*", func(_ *channels.Context, p joinParams) (text, error) {
		<-release
		if p.Deny != "" {
			return text{}, channels.Errorf("no")
		}
		return text{}, nil
	})
	channels.On(ch, "echo", func(_ *channels.Context, m text) (text, error) { return m, nil })
	e := start(t, channels.Options{}, ch)
	for _, deny := range []string{"", "yes"} {
		client := channelstest.Connect(t, e, "/socket")
		join := client.StartJoin("slow:1", joinParams{Deny: deny})
		echo, leave := join.Channel().Push("echo", text{"x"}), join.Channel().Push("phx_leave", nil)
		if deny == "" {
			release <- struct{}{}
			join.AssertReply("ok", nil)
			echo.AssertReply("ok", text{"x"})
		} else {
			release <- struct{}{}
			join.AssertReply("error", map[string]string{"reason": "no"})
			echo.AssertReply("error", map[string]string{"reason": "unmatched topic"})
		}
		leave.AssertReply("ok", nil)
	}
}

// Joining again ends the old channel: its callbacks are over before the new
// join begins, and its phx_close comes right behind the new reply.
func TestRejoinOrder(t *testing.T) {
	var mu sync.Mutex
	var order []string
	note := func(what string) { mu.Lock(); order = append(order, what); mu.Unlock() }
	ch := channels.Handle("room:*", func(c *channels.Context, p joinParams) (channels.NoReply, error) {
		note("join " + p.Name)
		return channels.NoReply{}, c.Push("hello", text{p.Name})
	})
	ch.Terminate(func(*channels.Context, error) { time.Sleep(5 * time.Millisecond); note("terminate") })
	e := start(t, channels.Options{}, ch)
	client := channelstest.Connect(t, e, "/socket")
	first := client.Join("room:1", joinParams{Name: "first"})
	first.AssertPush("hello", text{"first"})
	second := client.StartJoin("room:1", joinParams{Name: "second"})
	received := client.Received(3)
	second.AssertReply("ok", nil)
	first.AssertClose()
	second.Channel().AssertPush("hello", text{"second"})
	if want := "phx_reply phx_close hello"; strings.Join(received, " ") != want {
		t.Errorf("received %v, want %s", received, want)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := "join first terminate join second"; strings.Join(order, " ") != want {
		t.Errorf("callbacks ran as %v", order)
	}
}

// What a channel sends after it has disconnected its own socket does not
// overtake the disconnect: in Phoenix the transport has stopped by then.
func TestNothingAfterDisconnect(t *testing.T) {
	ch := room()
	channels.On(ch, "disconnect_me", func(c *channels.Context, _ text) (text, error) {
		return text{"too late"}, c.Endpoint().Disconnect(c.Socket().ID())
	})
	e := start(t, channels.Options{}, ch)
	for range 20 {
		client := channelstest.Connect(t, e, "/socket?user=ada")
		push := client.Join("room:1", nil).Push("disconnect_me", nil)
		client.AssertClosed(1001)
		push.RefuteReply()
	}
}

// A callback that ends its goroutine ends its channel, and the callbacks that
// are left still run.
func TestGoexit(t *testing.T) {
	ended := make(chan error, 1)
	ch := room()
	channels.On(ch, "exit", func(*channels.Context, text) (text, error) { runtime.Goexit(); return text{}, nil })
	ch.Terminate(func(_ *channels.Context, reason error) { ended <- reason })
	e := start(t, channels.Options{}, ch)
	c := channelstest.Connect(t, e, "/socket").Join("room:1", nil)
	c.Push("exit", nil)
	c.AssertError()
	var crashed *channels.PanicError
	if err := <-ended; !errors.As(err, &crashed) {
		t.Errorf("ended with %v", err)
	}
}
