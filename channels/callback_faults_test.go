package channels_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

// Timers that are due at the same time fire in the order in which they were set.
func TestTimersKeepOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timers = 100
		ch := channels.Handle("room:*", func(c *channels.Context, _ text) (text, error) {
			late := c.SendAfter(2*time.Second, tick{-1})
			for i := range timers {
				c.SendAfter(time.Second, tick{i})
			}
			c.SendAfter(time.Millisecond, tick{-2})
			if !late.Stop() || late.Stop() {
				t.Error("a timer that waits was not stopped once")
			}
			return text{}, nil
		})
		got := make(chan int, timers+2)
		channels.Info(ch, func(_ *channels.Context, m tick) error { got <- m.n; return nil })
		e := start(t, channels.Options{}, ch)
		channelstest.Connect(t, e, "/socket").Join("room:1", nil)
		begun := time.Now()
		if n := <-got; n != -2 {
			t.Errorf("timer %d fired first", n)
		}
		for i := range timers {
			if n := <-got; n != i {
				t.Fatalf("timer %d fired in place of %d", n, i)
			}
		}
		if took := time.Since(begun); took != time.Second {
			t.Errorf("fired after %v", took)
		}
		time.Sleep(time.Minute)
		if len(got) != 0 {
			t.Error("a timer that was stopped fired")
		}
	})
}

// A timer of a channel that has ended is dropped.
func TestTimerOfAnEndedChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var timer *channels.Timer
		ended := make(chan struct{})
		ch := channels.Handle("room:*", func(c *channels.Context, _ text) (text, error) {
			timer = c.SendAfter(time.Second, tick{})
			c.OnEnd(func() {
				if c.SendAfter(0, tick{}).Stop() {
					t.Error("a timer of a channel that had ended waited")
				}
				close(ended)
			})
			return text{}, nil
		})
		channels.Info(ch, func(*channels.Context, tick) error { t.Error("fired"); return nil })
		e := start(t, channels.Options{}, ch)
		channelstest.Connect(t, e, "/socket").Join("room:1", nil).Leave()
		<-ended
		time.Sleep(time.Minute)
		if timer.Stop() {
			t.Error("it was still waiting")
		}
	})
}

// A binary push whose event or ref is not UTF-8 ends its channel and no other.
func TestBinaryPushThatIsNotText(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{}, room())
		for name, field := range map[string][2]string{"event": {"2", "\xff\xfe"}, "ref": {"\xff\xfe", "echo"}, "ref of a join": {"\xff\xfe", "phx_join"}} {
			p := s.dial(t)
			witness, victim := p.join("room:witness", "{}"), p.join("room:victim", "{}")
			if err := p.WriteBinary(bytesPush(victim, field[0], "room:victim", field[1], []byte{0})); err != nil {
				t.Fatal(err)
			}
			if m := p.await("phx_error"); m.joinRef != victim || string(m.payload) != `{"reason":"channel_crash"}` {
				t.Errorf("%s: got %v", name, m)
			}
			p.assertReply(witness, "room:witness", "echo", "[1]", "ok", "[1]")
			if err := p.WriteBinary(bytesPush("9", field[0], "room:nobody", field[1], []byte{0})); err != nil {
				t.Fatal(err)
			}
			if m := p.await("phx_reply"); string(m.response) != `{"reason":"unmatched topic"}` {
				t.Errorf("%s: got %v", name, m)
			}
			p.assertReply(witness, "room:witness", "echo", "[2]", "ok", "[2]")
		}
	})
}

// A nil *ReplyError that a function returns as an error is not an error.
func TestTypedNilIsNoError(t *testing.T) {
	var none *channels.ReplyError
	ch := channels.Handle("room:*", func(*channels.Context, text) (text, error) { return text{"joined"}, none })
	channels.On(ch, "event", func(*channels.Context, text) (text, error) { return text{"done"}, none })
	channels.On(ch, "wrapped", func(*channels.Context, text) (text, error) { return text{}, fmt.Errorf("wrapped: %w", none) })
	ch.OnAny(func(*channels.Context, string, channels.Payload) (channels.Reply, error) {
		return channels.Reply{Status: "ok", Response: text{"any"}}, none
	})
	ch.Terminate(func(_ *channels.Context, reason error) {
		if reason != channels.ErrLeft {
			t.Errorf("ended with %v", reason)
		}
	})
	quiet := zerolog.Nop()
	e := start(t, channels.Options{Logger: &quiet}, ch)
	c, reply := channelstest.Connect(t, e, "/socket").TryJoin("room:1", nil)
	wantReply(t, reply, "ok", `{"body":"joined"}`)
	c.Push("event", nil).AssertReply("ok", text{"done"})
	c.Push("other", nil).AssertReply("ok", text{"any"})
	c.Push("wrapped", nil).AssertReply("error", map[string]string{"reason": "internal error"})
	c.Leave()
}

// Clients access the fields of what they are sent, so a nil map is sent as an empty
// object.
func TestNilResponses(t *testing.T) {
	var object map[string]int
	var list []int
	var pointer *text
	for name, test := range map[string]struct {
		value any
		want  string
	}{
		"map": {object, "{}"}, "struct": {pointer, "{}"}, "list": {list, "[]"}, "bytes": {[]byte(nil), `""`}, "nil": {nil, "{}"},
	} {
		ch := channels.Handle("room:*", func(*channels.Context, text) (any, error) { return test.value, nil })
		channels.On(ch, "event", func(*channels.Context, text) (any, error) { return test.value, nil })
		channels.On(ch, "push", func(c *channels.Context, _ text) (text, error) { return text{}, c.Push("pushed", object) })
		e := start(t, channels.Options{}, ch)
		c, reply := channelstest.Connect(t, e, "/socket").TryJoin("room:1", nil)
		wantReply(t, reply, "ok", test.want)
		if got := string(c.Push("event", nil).Reply().Response); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
		c.Push("push", nil)
		c.AssertPush("pushed", struct{}{})
	}
}

// A handler that gives up because its client has left has not failed.
func TestErrorOfAnEndedChannel(t *testing.T) {
	log := new(logged)
	logger := zerolog.New(log)
	returned, entered := make(chan struct{}), make(chan struct{})
	ch := channels.Handle("room:*", func(*channels.Context, text) (text, error) { return text{}, nil })
	channels.On(ch, "wait", func(c *channels.Context, _ text) (text, error) {
		close(entered)
		<-c.Done()
		return text{}, fmt.Errorf("query: %w", context.Cause(c))
	})
	channels.On(ch, "wait_err", func(c *channels.Context, _ text) (text, error) { <-c.Done(); return text{}, c.Err() })
	ch.Terminate(func(*channels.Context, error) { close(returned) })
	e := start(t, channels.Options{Logger: &logger}, ch)
	for _, event := range []string{"wait", "wait_err"} {
		returned, entered = make(chan struct{}), make(chan struct{})
		client := channelstest.Connect(t, e, "/socket")
		c := client.Join("room:1", nil)
		c.Push(event, nil)
		if event == "wait" {
			<-entered
		}
		client.Join("room:1", nil)
		<-returned
	}
	if text := log.String(); !strings.Contains(text, "handler failed") || strings.Contains(text, `"level":"error"`) {
		t.Error(text)
	}
}

// Mistakes of an application are found when it registers its handlers.
func TestRegistrationMistakes(t *testing.T) {
	join := func(*channels.Context, text) (text, error) { return text{}, nil }
	event := func(*channels.Context, text) (text, error) { return text{}, nil }
	out := func(*channels.Context, text) error { return nil }
	served := channels.Handle("served", join)
	e := start(t, channels.Options{}, served)
	fresh := func() *channels.Channel { return channels.Handle("room:*", join) }
	for want, mistake := range map[string]func(){
		`the event "phx_join" is the protocol's own`:  func() { channels.On(fresh(), "phx_join", event) },
		`the event "phx_leave" is the protocol's own`: func() { channels.On(fresh(), "phx_leave", event) },
		`the event "phx_reply" is the protocol's own`: func() { channels.Intercept(fresh(), "phx_reply", out) },
		`On of "served" after`:                        func() { channels.On(served, "late", event) },
		`OnAny of "served" after`:                     func() { served.OnAny(nil) },
		`Intercept of "served" after`:                 func() { channels.Intercept(served, "late", out) },
		`Info of "served" after`:                      func() { channels.Info(served, func(*channels.Context, text) error { return nil }) },
		`Terminate of "served" after`:                 func() { served.Terminate(nil) },
		`OnLoop of "served" after`:                    func() { served.OnLoop() },
		`event "e" of "room:*" has two handlers`: func() {
			ch := fresh()
			channels.On(ch, "e", event)
			channels.On(ch, "e", event)
		},
		`event "o" of "room:*" has two handlers`: func() {
			ch := fresh()
			channels.Intercept(ch, "o", out)
			channels.Intercept(ch, "o", out)
		},
		`"room:*" has two Info handlers`: func() {
			ch := fresh()
			channels.Info(ch, func(*channels.Context, text) error { return nil })
			channels.Info(ch, func(*channels.Context, text) error { return nil })
		},
		`two channels with the pattern "room:*"`: func() { e.Socket("/twice", channels.SocketOptions{}, fresh(), fresh()) },
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
					t.Errorf("panicked with %q, want %q", got, want)
				}
			}()
			mistake()
		}()
	}
}
