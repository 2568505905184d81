package channelstest_test

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type object = map[string]any

func echo() *channels.Channel {
	ch := channels.Handle("echo:*", func(_ *channels.Context, p object) (object, error) {
		if p["deny"] != nil {
			return nil, channels.Errorf("denied")
		}
		return p, nil
	})
	channels.On(ch, "echo", func(_ *channels.Context, p channels.Payload) (channels.Payload, error) { return p, nil })
	channels.On(ch, "push", func(c *channels.Context, p object) (channels.NoReply, error) {
		return channels.NoReply{}, c.Push("pushed", p)
	})
	channels.On(ch, "shout", func(c *channels.Context, p object) (channels.NoReply, error) {
		return channels.NoReply{}, c.Broadcast("shout", p)
	})
	channels.On(ch, "push_to", func(c *channels.Context, p object) (channels.NoReply, error) {
		return channels.NoReply{}, c.PushTo("elsewhere", "pushed", p)
	})
	channels.On(ch, "stop", func(c *channels.Context, _ object) (channels.NoReply, error) {
		c.Stop(nil)
		return channels.NoReply{}, nil
	})
	return ch
}

// failing is a testing.TB that keeps what an assertion says when it fails.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// Every assertion passes where it should, and fails with the reason where it
// should not. Fake time makes the failing ones as quick.
func TestAssertions(t *testing.T) {
	for name, test := range map[string]struct {
		run  func(*channelstest.Client, *channelstest.Channel)
		fail string // part of what is said; empty: it passes
	}{
		"reply": {run: func(_ *channelstest.Client, ch *channelstest.Channel) {
			ch.Push("echo", object{"a": 1, "b": 2}).AssertReply("ok", object{"a": 1})
		}},
		"wrong status": {func(_ *channelstest.Client, ch *channelstest.Channel) { ch.Push("echo", nil).AssertReply("error", nil) }, "reply is ok"},
		"wrong response": {func(_ *channelstest.Client, ch *channelstest.Channel) {
			ch.Push("echo", object{"a": 1}).AssertReply("ok", object{"a": 2})
		}, `{"a":1}`},
		"missing key": {func(_ *channelstest.Client, ch *channelstest.Channel) {
			ch.Push("echo", object{}).AssertReply("ok", object{"a": nil})
		}, "want ok"},
		"no reply": {func(_ *channelstest.Client, ch *channelstest.Channel) { ch.Push("push", nil).AssertReply("ok", nil) }, "pushed"},
		"bytes": {run: func(_ *channelstest.Client, ch *channelstest.Channel) {
			ch.Push("echo", channels.Binary{1, 2}).AssertReply("ok", channels.Binary{1, 2})
		}},
		"other bytes": {func(_ *channelstest.Client, ch *channelstest.Channel) {
			ch.Push("echo", channels.Binary{1, 2}).AssertReply("ok", channels.Binary{1, 3})
		}, "2 bytes 0102"},
		"refuted reply":     {run: func(_ *channelstest.Client, ch *channelstest.Channel) { ch.Push("push", nil).RefuteReply() }},
		"reply not refuted": {func(_ *channelstest.Client, ch *channelstest.Channel) { ch.Push("echo", nil).RefuteReply() }, "unexpected reply"},
		"push": {run: func(_ *channelstest.Client, ch *channelstest.Channel) {
			ch.Push("push", object{"x": 1})
			ch.AssertPush("pushed", object{"x": 1})
		}},
		"wrong push": {func(_ *channelstest.Client, ch *channelstest.Channel) {
			ch.Push("push", object{"x": 1})
			ch.AssertPush("pushed", object{"x": 2})
		}, `no pushed {"x":2}`},
		"push, no broadcast": {func(_ *channelstest.Client, ch *channelstest.Channel) {
			ch.Push("push", nil)
			ch.AssertBroadcast("pushed", nil)
		}, "no pushed"},
		"broadcast": {run: func(_ *channelstest.Client, ch *channelstest.Channel) {
			ch.Push("shout", object{"x": 1})
			ch.AssertBroadcast("shout", object{"x": 1})
		}},
		"push refuted": {run: func(_ *channelstest.Client, ch *channelstest.Channel) { ch.RefutePush("pushed", nil) }},
		"push not refuted": {func(_ *channelstest.Client, ch *channelstest.Channel) {
			ch.Push("push", nil)
			ch.RefutePush("pushed", nil)
		}, "unexpected pushed"},
		"push to another topic": {run: func(c *channelstest.Client, ch *channelstest.Channel) {
			ch.Push("push_to", object{"x": 1})
			c.Topic("elsewhere").AssertPush("pushed", object{"x": 1})
		}},
		"push to another topic is none here": {func(c *channelstest.Client, ch *channelstest.Channel) {
			ch.Push("push_to", nil)
			ch.AssertPush("pushed", nil)
		}, "no pushed (anything) on echo:1"},
		"close":             {run: func(_ *channelstest.Client, ch *channelstest.Channel) { ch.Push("stop", nil); ch.AssertClose() }},
		"close is no error": {func(_ *channelstest.Client, ch *channelstest.Channel) { ch.Push("stop", nil); ch.AssertError() }, "no phx_error"},
		"error":             {run: func(_ *channelstest.Client, ch *channelstest.Channel) { ch.Push("no_handler", nil); ch.AssertError() }},
		"leave":             {run: func(_ *channelstest.Client, ch *channelstest.Channel) { ch.Leave() }},
		"refused join":      {func(c *channelstest.Client, _ *channelstest.Channel) { c.Join("echo:x", object{"deny": 1}) }, "denied"},
		"not closed":        {func(c *channelstest.Client, _ *channelstest.Channel) { c.AssertClosed(1001) }, "no end of the connection"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := channelstest.Start(t, channels.Options{})
				e.Socket("/socket", channels.SocketOptions{}, echo())
				f := &failing{TB: t}
				client := channelstest.Connect(f, e, "/socket")
				ch := client.Join("echo:1", nil)
				done := make(chan struct{})
				go func() { defer close(done); test.run(client, ch) }()
				<-done
				if (test.fail == "") != (f.said == "") || !strings.Contains(f.said, test.fail) {
					t.Errorf("said %q, want %q", f.said, test.fail)
				}
			})
		})
	}
}

// A client stays connected however long a test takes, and tests do not see its
// heartbeats.
func TestHeartbeats(t *testing.T) {
	for _, wait := range []time.Duration{61 * time.Second, 3 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			e := channelstest.Start(t, channels.Options{})
			e.Socket("/socket", channels.SocketOptions{}, echo())
			client := channelstest.Connect(t, e, "/socket")
			ch := client.Join("echo:1", nil)
			time.Sleep(wait)
			ch.Push("echo", object{"n": 1}).AssertReply("ok", object{"n": 1})
			ch.Push("push", nil)
			if got := client.Received(1); len(got) != 1 || got[0] == "phx_reply" {
				t.Errorf("after %v: received %v", wait, got)
			}
		})
	}
}

func TestTryConnect(t *testing.T) {
	e := channelstest.Start(t, channels.Options{})
	e.Socket("/socket", channels.SocketOptions{CheckOrigin: channels.Origins("//example.com")}, echo())
	_, err := channelstest.TryConnect(t, e, "/socket", http.Header{"Origin": {"http://other.com"}})
	var refused *channelstest.RefusedError
	if !errors.As(err, &refused) || refused.Status != http.StatusForbidden {
		t.Errorf("refused with %v", err)
	}
	c, err := channelstest.TryConnect(t, e, "/socket", http.Header{"Origin": {"http://example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	c.Join("echo:1", nil)
}
