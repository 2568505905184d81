package channels_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// inBubble runs a test on an endpoint whose time is that of testing/synctest.
func inBubble(t *testing.T, o channels.LongPollOptions, test func(t *testing.T, s *server, c *lpClient)) {
	synctest.Test(t, func(t *testing.T) {
		e, err := channels.NewEndpoint(channels.Options{Loops: 1, Portable: true, Drain: quickDrain})
		if err != nil {
			t.Fatal(err)
		}
		o.Enabled = true
		e.Socket("/socket", channels.SocketOptions{LongPoll: o}, rooms()...)
		c := direct(t, e)
		c.open()
		test(t, &server{Endpoint: e}, c)
		if err := e.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		assertNothingLeft(t)
	})
}

// took measures a poll.
func took(c *lpClient) (a lpAnswer, d time.Duration) {
	began := time.Now()
	a = c.must("GET", "", nil)
	return a, time.Since(began)
}

func TestLongPollWindow(t *testing.T) {
	inBubble(t, channels.LongPollOptions{}, func(t *testing.T, _ *server, c *lpClient) {
		if a, d := took(c); a.Status != 204 || len(*a.Messages) != 0 || *a.Token != c.token || d != 10*time.Second {
			t.Errorf("nothing to tell: %s after %v", a.raw, d)
		}
		time.AfterFunc(4*time.Second, func() { c.post(`[null,"1","phoenix","heartbeat",{}]`) })
		if a, d := took(c); a.Status != 200 || d != 4*time.Second {
			t.Errorf("a message after 4 s: %s after %v", a.raw, d)
		}
	})
}

// A session lives as long as it is polled, and one and a half windows longer.
func TestLongPollExpiry(t *testing.T) {
	inBubble(t, channels.LongPollOptions{Window: 2 * time.Second}, func(t *testing.T, s *server, c *lpClient) {
		c.join("quiet:1")
		for range 5 {
			if a, _ := took(c); a.Status != 204 {
				t.Fatalf("a poll: %s", a.raw)
			}
			time.Sleep(2900 * time.Millisecond)
		}
		if n := s.Stats().LongPoll.Sessions; n != 1 {
			t.Fatalf("%d sessions just before the end", n)
		}
		time.Sleep(200 * time.Millisecond)
		if st := s.Stats(); st.LongPoll.Sessions != 0 || st.LongPoll.Expired != 1 || st.Sockets != 0 || st.Channels != 0 {
			t.Errorf("after the end: %+v", st)
		}
		if a := c.must("POST", `[null,"1","phoenix","heartbeat",{}]`, nil); a.raw != `{"status":410}` {
			t.Errorf("a post: %s", a.raw)
		}
		if a, d := took(c); a.Status != 410 || *a.Token == c.token || d != 0 {
			t.Errorf("a poll: %s after %v", a.raw, d)
		}
	})
}

// Posts are no life, as in Phoenix: nobody takes the answers.
func TestLongPollPostsAlone(t *testing.T) {
	inBubble(t, channels.LongPollOptions{Window: 2 * time.Second}, func(t *testing.T, _ *server, c *lpClient) {
		for range 2 {
			time.Sleep(1400 * time.Millisecond)
			c.post(`[null,"1","phoenix","heartbeat",{}]`)
		}
		time.Sleep(400 * time.Millisecond)
		if a := c.must("POST", `[null,"1","phoenix","heartbeat",{}]`, nil); a.Status != 410 {
			t.Errorf("a post after 3.2 s without a poll: %s", a.raw)
		}
	})
}

// The token is renewed by polling; an old one counts until its own age.
func TestLongPollTokenAge(t *testing.T) {
	o := channels.LongPollOptions{Window: 10 * time.Second, TokenMaxAge: time.Minute}
	inBubble(t, o, func(t *testing.T, _ *server, c *lpClient) {
		first := c.token
		for i := range 20 {
			a, _ := took(c)
			if a.Status != 204 {
				t.Fatalf("poll %d: %s", i, a.raw)
			}
			if i < 3 && *a.Token != first {
				t.Errorf("poll %d: the token is renewed already", i)
			}
			c.token = *a.Token
		}
		last := c.token
		c.token = first
		if a := c.must("POST", `[null,"1","phoenix","heartbeat",{}]`, nil); a.Status != 410 {
			t.Errorf("a token of 200 s at a limit of 60: %s", a.raw)
		}
		c.token = last
		c.post(`[null,"1","phoenix","heartbeat",{}]`)
	})
}
