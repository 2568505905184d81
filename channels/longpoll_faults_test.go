package channels_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// deafWriter is a client that is gone when its answer comes.
type deafWriter struct{ *httptest.ResponseRecorder }

var errDeaf = errors.New("the client is gone")

func (deafWriter) Write([]byte) (int, error) { return 0, errDeaf }

// unreliable makes some of a client's polls fail while they are written.
func unreliable(c *lpClient, h http.Handler, fails func() bool) {
	c.do = func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		if r.Method == "GET" && fails() {
			h.ServeHTTP(deafWriter{w}, r)
			return nil, errDeaf
		}
		h.ServeHTTP(w, r)
		return w.Result(), nil
	}
}

// What could not be written waits for the next poll, before everything else.
func TestLongPollUnwritten(t *testing.T) {
	s := serve(t, channels.Options{}, channels.SocketOptions{LongPoll: longPolling}, rooms()...)
	c := direct(t, s.Endpoint)
	c.open()
	c.join("quiet:1")
	var failing atomic.Bool
	unreliable(c, s.Endpoint, failing.Load)
	failing.Store(true)
	c.post(`["1","2","quiet:1","echo",{}]`)
	for range 3 {
		if _, err := c.request(context.Background(), "GET", "", nil); !errors.Is(err, errDeaf) {
			t.Fatalf("the answer was written: %v", err)
		}
	}
	c.post(`["1","3","quiet:1","echo",{}]`)
	failing.Store(false)
	c.assertNext("1", "2", "quiet:1", "phx_reply", "ok {}")
	c.assertNext("1", "3", "quiet:1", "phx_reply", "ok {}")

	// A client that goes away while it waits takes nothing with it.
	ctx, cancel := context.WithCancel(context.Background())
	gone := c.waiting(ctx)
	cancel()
	if a := <-gone; a.Status != 204 {
		t.Errorf("a poll that was given up: %s", a.raw)
	}
	c.post(`["1","4","quiet:1","echo",{}]`)
	c.assertNext("1", "4", "quiet:1", "phx_reply", "ok {}")
}

// Polls that fail, overlap and are given up, beside posts and broadcasts:
// every message arrives once, in order.
func TestLongPollOnceInOrder(t *testing.T) {
	s := serve(t, channels.Options{Loops: 2}, channels.SocketOptions{LongPoll: longPolling}, rooms()...)
	var sessions sync.WaitGroup
	for range 4 {
		sessions.Go(func() { onceInOrder(t, s.Endpoint) })
	}
	sessions.Wait()
}

const onceMessages = 300

func onceInOrder(t *testing.T, h http.Handler) {
	c := direct(t, h)
	c.open()
	c.post(`["1","join","quiet:1","phx_join",{}]`)
	unreliable(c, h, func() bool { return rand.IntN(4) == 0 })
	posted := make(chan error, 1)
	go func() {
		for i := range onceMessages {
			a, err := c.request(context.Background(), "POST", fmt.Sprintf(`["1","%d","quiet:1","echo",{}]`, i), nil)
			if err != nil || a.Status != 200 {
				posted <- fmt.Errorf("post %d: %v %s", i, err, a.raw)
				return
			}
		}
		posted <- nil
	}()
	refs := pollInOrder(t, c)
	if err := <-posted; err != nil {
		t.Error(err)
	}
	if len(refs) != onceMessages+1 || refs[0] != "join" {
		t.Fatalf("%d messages arrived: %v", len(refs), refs)
	}
	for i, ref := range refs[1:] {
		if ref != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, ref)
		}
	}
}

// pollInOrder polls until all messages are there. Some polls are given up, so
// that the next one overlaps with them.
func pollInOrder(t *testing.T, c *lpClient) (refs []string) {
	for deadline := time.Now().Add(patience); len(refs) <= onceMessages && time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rand.IntN(3000))*time.Microsecond)
		a, err := c.request(ctx, "GET", "", nil)
		cancel()
		if errors.Is(err, errDeaf) || err == nil && a.raw == "" { // not written: the client was gone before
			continue
		}
		list, decodeErr := a.envelopes()
		if err != nil || decodeErr != nil {
			t.Errorf("poll: %v %v %s", err, decodeErr, a.raw)
			return refs
		}
		for _, m := range list {
			refs = append(refs, m.ref)
		}
	}
	return refs
}

// Many requests of one session at once: none is left without an answer.
func TestLongPollCrowdOfPolls(t *testing.T) {
	s := serve(t, channels.Options{Loops: 2}, channels.SocketOptions{LongPoll: longPolling}, rooms()...)
	c := direct(t, s.Endpoint)
	c.open()
	c.join("quiet:1")
	var crowd sync.WaitGroup
	var arrived atomic.Int32
	for i := range 50 {
		crowd.Go(func() {
			if i%2 == 0 {
				if a, err := c.request(context.Background(), "POST", `["1","2","quiet:1","echo",{}]`, nil); err != nil || a.Status != 200 {
					t.Errorf("post: %v %s", err, a.raw)
				}
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			a, err := c.request(ctx, "GET", "", nil)
			if err == nil && a.raw == "" { // not written: the client was gone before
				return
			}
			if err != nil || a.Status != 200 && a.Status != 204 {
				t.Errorf("poll: %v %s", err, a.raw)
				return
			}
			arrived.Add(int32(len(*a.Messages)))
		})
	}
	crowd.Wait()
	for range 25 - arrived.Load() {
		c.assertNext("1", "2", "quiet:1", "phx_reply", "ok {}")
	}
}

// A poll that another one replaces is answered at once, the new one with the
// messages.
func TestLongPollReplaced(t *testing.T) {
	s := serve(t, channels.Options{}, channels.SocketOptions{LongPoll: longPolling}, rooms()...)
	c := s.polls(t)
	first := c.waiting(context.Background())
	second := make(chan lpAnswer, 1)
	go func() {
		a, err := c.request(context.Background(), "GET", "", nil)
		if err != nil {
			a.raw = err.Error()
		}
		second <- a
	}()
	a := <-first
	if a.Status != 204 || len(*a.Messages) != 0 {
		t.Errorf("replaced: %s", a.raw)
	}
	c.post(`[null,"1","phoenix","heartbeat",{}]`)
	if a := <-second; a.Status != 200 || len(*a.Messages) != 1 {
		t.Errorf("the other: %s", a.raw)
	}
}

// When a session is ended, its waiting poll is answered at once, and its
// channels end.
func TestLongPollDisconnect(t *testing.T) {
	reasons := make(chan error, 10)
	chs := func() []*channels.Channel {
		ch := room()
		ch.Terminate(func(_ *channels.Context, reason error) { reasons <- reason })
		return []*channels.Channel{ch}
	}
	so := channels.SocketOptions{Connect: func(_ context.Context, s *channels.Socket, _ *channels.Request) error {
		s.SetID("user:1")
		return nil
	}}
	eachPolling(t, so, func(t *testing.T, s *server, c *lpClient) {
		c.open()
		c.join("room:1")
		answer := c.waiting(context.Background())
		if err := s.Disconnect("user:1"); err != nil {
			t.Fatal(err)
		}
		if a := <-answer; a.http != 200 || a.raw != `{"status":410}` {
			t.Errorf("a poll that waited: %d %s", a.http, a.raw)
		}
		if reason := <-reasons; !errors.Is(reason, channels.ErrClosed) {
			t.Errorf("the channel ended with %v", reason)
		}
		if a := c.must("POST", `[null,"1","phoenix","heartbeat",{}]`, nil); a.raw != `{"status":410}` {
			t.Errorf("a later post: %s", a.raw)
		}
		old := c.token
		c.open()
		if c.token == old {
			t.Error("the token of the old session again")
		}
		waitFor(t, "the socket of the old session to be gone", func() bool { return s.Stats().Sockets == 1 })
	}, chs)
}

// What was sent before the end reaches a poll that waits.
func TestLongPollLastWords(t *testing.T) {
	s := serve(t, channels.Options{Loops: 1}, channels.SocketOptions{LongPoll: longPolling, Connect: named}, lastWords())
	c := s.polls(t)
	c.join("last:1")
	answer := c.waiting(context.Background())
	c.post(`["1","2","last:1","bye",{}]`)
	a := <-answer
	if a.Status != 200 || len(*a.Messages) != 1 || !strings.Contains((*a.Messages)[0], `"words"`) {
		t.Errorf("got %s", a.raw)
	}
	waitFor(t, "the end of the session", func() bool { return s.Stats().Sockets == 0 })
	if a := c.must("GET", "", nil); a.Status != 410 {
		t.Errorf("after the end: %s", a.raw)
	}
}

func named(_ context.Context, s *channels.Socket, _ *channels.Request) error {
	s.SetID("user:1")
	return nil
}

func lastWords() *channels.Channel {
	ch := channels.Handle("last:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	})
	channels.On(ch, "bye", func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
		if err := c.Push("words", map[string]int{}); err != nil {
			return channels.NoReply{}, err
		}
		return channels.NoReply{}, c.Endpoint().Disconnect(c.Socket().ID())
	})
	return ch.OnLoop()
}

// Shutdown answers waiting polls, and no session opens from then on.
func TestLongPollDrain(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := newServer(t, o)
		var terminated atomic.Int32
		s.Socket("/socket", channels.SocketOptions{LongPoll: longPolling}, ends(&terminated))
		c, idle := s.polls(t), s.polls(t)
		c.join("room:1")
		idle.join("room:1")
		answer := c.waiting(context.Background())
		if err := shutdown(t, s); err != nil {
			t.Error(err)
		}
		if a := <-answer; a.raw != `{"status":410}` {
			t.Errorf("a poll that waited: %s", a.raw)
		}
		if n := terminated.Load(); n != 2 {
			t.Errorf("%d of 2 channels have terminated when Shutdown returns", n)
		}
		late := direct(t, s.Endpoint)
		if a := late.must("GET", "", nil); a.http != 503 || a.raw != "" {
			t.Errorf("a session after the shutdown: %d %s", a.http, a.raw)
		}
		late.token = c.token
		if a := late.must("POST", `[null,"1","phoenix","heartbeat",{}]`, nil); a.raw != `{"status":410}` {
			t.Errorf("a post after the shutdown: %s", a.raw)
		}
		assertNothingLeft(t)
	})
}

// A shutdown that is cut off leaves no session either.
func TestLongPollDrainCutOff(t *testing.T) {
	o := channels.Options{Drain: channels.Drain{Batch: 1, Interval: time.Hour, Timeout: time.Hour}}
	s := newServer(t, o)
	s.Socket("/socket", channels.SocketOptions{LongPoll: longPolling}, rooms()...)
	var answers []<-chan lpAnswer
	for range 5 {
		c := s.polls(t)
		c.join("quiet:1")
		c.post(`["1","2","quiet:1","echo",{}]`)
		c.next()
		answers = append(answers, c.waiting(context.Background()))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	for _, answer := range answers {
		if a := <-answer; a.Status == 200 || a.Status == 204 {
			t.Errorf("a poll that waited: %s", a.raw)
		}
	}
	if n := s.Stats().LongPoll.Sessions; n != 0 {
		t.Errorf("%d sessions left", n)
	}
	assertNothingLeft(t)
}

// What waits for a poll is bounded, by the same policies as for a connection.
func TestLongPollSlowReceiver(t *testing.T) {
	const fit, sent = 10, 25
	message := func(i int) string { return fmt.Sprintf(`{"n":%2d,"x":"%s"}`, i, strings.Repeat("x", 1000)) }
	for policy, first := range map[channels.SlowReceiver]int{channels.DropOldest: sent - fit, channels.DropNewest: 0, channels.DisconnectSlow: -1} {
		frame := len(strconv.Quote(`[null,null,"quiet:1","n",` + message(0) + `]`))
		const joinReply = 100 // may still count: the client has it before the server knows
		o := channels.Options{Limits: channels.Limits{OutboundBytes: fit*frame + joinReply}, SlowReceiver: policy}
		s := serve(t, o, channels.SocketOptions{LongPoll: longPolling}, rooms()...)
		c := s.polls(t)
		c.join("quiet:1")
		for i := range sent {
			if err := s.Broadcast("quiet:1", "n", channels.Payload{Data: []byte(message(i))}); err != nil {
				t.Fatal(err)
			}
		}
		if policy == channels.DisconnectSlow {
			waitFor(t, "the end of the session", func() bool { return s.Stats().Sockets == 0 })
			if a := c.must("GET", "", nil); a.Status != 410 || s.Stats().LongPoll.Slow != 1 {
				t.Errorf("disconnected: %s, %+v", a.raw, s.Stats().LongPoll)
			}
			continue
		}
		waitFor(t, "the last broadcast", func() bool { return s.Stats().LongPoll.Dropped == sent-fit })
		for i := range fit {
			c.assertNext("", "", "quiet:1", "n", message(first+i))
		}
		c.post(`["1","2","quiet:1","echo",{}]`)
		c.assertNext("1", "2", "quiet:1", "phx_reply", "ok {}")
	}
}

// An idle session has no goroutine.
func TestLongPollGoroutines(t *testing.T) {
	const sessions = 1000
	s := serve(t, channels.Options{Loops: 2}, channels.SocketOptions{LongPoll: longPolling}, rooms()...)
	c := direct(t, s.Endpoint)
	c.open()
	before := runtime.NumGoroutine()
	for range sessions {
		c := direct(t, s.Endpoint)
		c.open()
		c.join("quiet:1")
	}
	waitFor(t, "the goroutines of requests", func() bool { return runtime.NumGoroutine() <= before+5 })
	if n := s.Stats().LongPoll.Sessions; n != sessions+1 {
		t.Errorf("%d sessions", n)
	}
}

// Whatever is posted, the session goes on.
func FuzzLongPollPost(f *testing.F) {
	for _, body := range []string{
		"", "[", `["1","2","room:1","echo",{"a":1}]`, `["1","1","room:1","phx_join",{}]` + "\n" + `["1","3","room:1","phx_leave",{}]`,
		"AAEBBgUxMnJvb206MWJ5dGVzAP8=", `{"topic":"room:1"}`, `["1","4","room:1","crash",{}]`, "\xff\n\x00",
	} {
		f.Add(body, true)
		f.Add(body, false)
	}
	s := serve(f, channels.Options{Loops: 1, SlowReceiver: channels.DropOldest}, channels.SocketOptions{LongPoll: longPolling}, rooms()...)
	c := direct(f, s.Endpoint)
	c.open()
	f.Fuzz(func(t *testing.T, body string, batch bool) {
		header := http.Header{}
		if batch {
			header = ndjson
		}
		a, err := c.request(context.Background(), "POST", body, header)
		if err != nil || a.http != a.Status || a.Status != 200 && a.Status != 400 && a.Status != 413 {
			t.Fatalf("%v %d %s", err, a.http, a.raw)
		}
		c.t = t
		c.refs++
		c.post(fmt.Sprintf(`[null,"fuzz%d","phoenix","heartbeat",{}]`, c.refs))
		for m := c.next(); m.ref != fmt.Sprintf("fuzz%d", c.refs); {
			m = c.next()
		}
	})
}

// The server notices over the network too that a client closes the connection
// of a waiting poll, whoever serves its HTTP.
func TestLongPollConnectionClosed(t *testing.T) {
	o := longPolling // without a grace its sessions live for longer than the test
	o.Grace = 100 * time.Millisecond
	eachPolling(t, channels.SocketOptions{LongPoll: o}, func(t *testing.T, s *server, c *lpClient) {
		c.open()
		c.join("quiet:1")
		ctx, cancel := context.WithCancel(context.Background())
		answers := c.waiting(ctx)
		cancel()
		<-answers
		waitFor(t, "the end of the session", func() bool {
			st := s.Stats()
			return st.LongPoll.Sessions == 0 && st.LongPoll.Expired == 1 && st.Channels == 0
		})
	}, rooms)
}
