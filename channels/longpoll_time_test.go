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

// took polls, and returns how long that took.
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

// Posts do not keep a session alive, as in Phoenix, because nobody polls for
// the answers.
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

// Polling renews the token. An older one is valid until it has its own age.
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

// polling polls with a context of its own. The returned function closes the
// connection of the poll, as a browser does with a page that is closed.
func (c *lpClient) polling() (abort func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.request(ctx, "GET", "", nil) // nobody takes the answer
	}()
	synctest.Wait()
	return func() {
		cancel()
		<-done
	}
}

// sessionLasts fails the test unless the session is there until d from now,
// and is not a little later.
func sessionLasts(t *testing.T, s *server, d time.Duration) {
	t.Helper()
	const margin = 100 * time.Millisecond
	time.Sleep(d - margin)
	synctest.Wait()
	if n := s.Stats().LongPoll.Sessions; n != 1 {
		t.Errorf("%d sessions after %v, want 1", n, d-margin)
	}
	time.Sleep(2 * margin)
	synctest.Wait()
	if st := s.Stats(); st.LongPoll.Sessions != 0 || st.LongPoll.Expired != 1 || st.Channels != 0 {
		t.Errorf("after %v: %+v", d+margin, st)
	}
}

// A client that closes the connection of a waiting poll is gone after the
// grace, and not after one and a half windows.
func TestLongPollClosedByClient(t *testing.T) {
	for _, test := range []struct {
		name    string
		options channels.LongPollOptions
		want    time.Duration
	}{
		{"default", channels.LongPollOptions{}, 3 * time.Second},
		{"option", channels.LongPollOptions{Grace: 500 * time.Millisecond}, 500 * time.Millisecond},
		{"never beyond the window's", channels.LongPollOptions{Window: 2 * time.Second, Grace: time.Hour}, 3 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, test.options, func(t *testing.T, s *server, c *lpClient) {
				c.join("quiet:1")
				abort := c.polling()
				time.Sleep(time.Second)
				abort()
				sessionLasts(t, s, test.want)
			})
		})
	}
}

// A client whose proxy cut the poll polls again, and has its whole time.
func TestLongPollClosedAndBack(t *testing.T) {
	inBubble(t, channels.LongPollOptions{}, func(t *testing.T, s *server, c *lpClient) {
		c.join("quiet:1")
		for range 3 {
			c.polling()()
			time.Sleep(2900 * time.Millisecond)
		}
		if a, d := took(c); a.Status != 204 || d != 10*time.Second {
			t.Errorf("a poll: %s after %v", a.raw, d)
		}
		sessionLasts(t, s, 15*time.Second)
	})
}

// Only the end of the newest poll counts: a browser may close an older one late.
func TestLongPollOldPollClosed(t *testing.T) {
	inBubble(t, channels.LongPollOptions{}, func(t *testing.T, _ *server, c *lpClient) {
		c.join("quiet:1")
		abort := c.polling()
		time.AfterFunc(time.Second, abort)
		if a, d := took(c); a.Status != 204 || d != 10*time.Second {
			t.Errorf("the newer poll: %s after %v", a.raw, d)
		}
	})
}

// Messages whose answer could not be written wait for the client during the
// grace, like the session.
func TestLongPollAnswerNotTaken(t *testing.T) {
	inBubble(t, channels.LongPollOptions{}, func(t *testing.T, s *server, c *lpClient) {
		c.join("quiet:1")
		refuse := func() {
			c.post(`[null,"7","phoenix","heartbeat",{}]`)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()                       // the connection is gone before there is an answer
			c.request(ctx, "GET", "", nil) // nobody takes the answer
			synctest.Wait()
		}
		refuse()
		time.Sleep(2900 * time.Millisecond)
		if m := c.next(); m.ref != "7" {
			t.Errorf("after 2.9 s: %v", m)
		}
		refuse()
		sessionLasts(t, s, 3*time.Second)
	})
}
