package channels_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// inn is a host whose guests are found by name below /socket.
type inn struct {
	*server
	mu     sync.RWMutex
	guests map[string]*channels.Endpoint
}

func openInn(t testing.TB, o channels.Options) *inn {
	t.Helper()
	h := &inn{guests: map[string]*channels.Endpoint{}}
	h.server = serve(t, o, channels.SocketOptions{}, relayAll())
	h.Route("/socket", func(below string) (*channels.Endpoint, string, error) {
		id, rest, _ := strings.Cut(below, "/")
		h.mu.RLock()
		defer h.mu.RUnlock()
		switch guest := h.guests[id]; {
		case guest != nil:
			return guest, "/" + rest, nil
		case id == "away":
			return nil, "", &channels.RefusedError{Status: http.StatusServiceUnavailable, RetryAfter: 1500 * time.Millisecond}
		case id == "broken":
			return nil, "", errors.New("no idea")
		}
		return nil, "", &channels.RefusedError{Status: http.StatusNotFound}
	})
	return h
}

// TestHostIsFoundFirst: a host's own sockets and polls are served at paths that
// a route would refuse.
func TestHostIsFoundFirst(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		h := openInn(t, o)
		h.Socket("/socket/own", channels.SocketOptions{LongPoll: longPolling}, relayAll())
		h.dialTarget(t, "/socket/own/websocket?vsn=2.0.0", nil)
		answer, err := http.Get("http://" + h.addr + "/socket/own/longpoll?vsn=2.0.0")
		if err != nil {
			t.Fatal(err)
		}
		defer http.DefaultClient.CloseIdleConnections()
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("a poll of the host's own is answered %d", answer.StatusCode)
		}
	})
}

// invite adds a guest.
func (h *inn) invite(t testing.TB, id string, o channels.Options, so channels.SocketOptions, chs ...*channels.Channel) *channels.Endpoint {
	t.Helper()
	o.Host = h.Endpoint
	guest, err := channels.NewEndpoint(o)
	if err != nil {
		t.Fatal(err)
	}
	guest.Socket("/", so, chs...)
	h.mu.Lock()
	h.guests[id] = guest
	h.mu.Unlock()
	return guest
}

// relayAll relays every event of every topic.
func relayAll() *channels.Channel {
	ch := channels.Handle("*", func(*channels.Context, channels.Payload) (channels.NoReply, error) { return channels.NoReply{}, nil })
	ch.OnAny(func(c *channels.Context, event string, p channels.Payload) (channels.Reply, error) {
		return channels.Reply{Status: "ok"}, c.Relay(event, p)
	})
	return ch
}

// TestGuestTopicsAreItsOwn: the same topic on the host and on two guests is
// three topics, over WebSockets and polls alike.
func TestGuestTopicsAreItsOwn(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		h := openInn(t, o)
		h.invite(t, "a", channels.Options{}, channels.SocketOptions{LongPoll: longPolling}, relayAll())
		h.invite(t, "b", channels.Options{}, channels.SocketOptions{}, relayAll())
		host, a, b := h.dial(t), h.dialTarget(t, "/socket/a/websocket?vsn=2.0.0", nil), h.dialTarget(t, "/socket/b/websocket?vsn=2.0.0", nil)
		for _, p := range []*peer{host, a, b} {
			p.join("room:1", "{}")
		}
		polling := h.poller(t)
		polling.target = "/socket/a/longpoll?vsn=2.0.0"
		polling.open()
		polling.join("room:1")
		a.push("1", "room:1", "said", `{"by":"a"}`)
		a.await("said")
		polling.assertNext("", "", "room:1", "said", `{"by":"a"}`)
		// What the others get first is their own: nothing of a came to them.
		host.push("1", "room:1", "said", `{"by":"host"}`)
		host.assertNext("", "room:1", "said", `{"by":"host"}`)
		b.push("1", "room:1", "said", `{"by":"b"}`)
		b.assertNext("", "room:1", "said", `{"by":"b"}`)
		if s := h.guests["a"].Stats(); s.Sockets != 2 || s.Channels != 2 || s.MessagesIn != 3 || s.Opened != 2 {
			t.Errorf("counted of a: %+v", s)
		}
		if s := h.Stats(); s.Sockets != 4 || s.Channels != 4 || s.MessagesIn != 7 {
			t.Errorf("counted of all: %+v", s)
		}
	})
}

// TestGuestRefusals: the error of a lookup refuses a client before any upgrade.
func TestGuestRefusals(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		h := openInn(t, o)
		h.invite(t, "full", channels.Options{Limits: channels.Limits{MaxConnections: 1}}, channels.SocketOptions{}, relayAll())
		first := h.dialTarget(t, "/socket/full/websocket?vsn=2.0.0", nil)
		for _, c := range []struct {
			id            string
			retry, status int
		}{{"unknown", 0, 404}, {"away", 2, 503}, {"broken", 0, 500}, {"full", 1, 503}} {
			h.assertRefused(t, "/socket/"+c.id+"/websocket?vsn=2.0.0", c.status, c.retry)
		}
		first.Drop()
		waitFor(t, "the place of the first to be free", func() bool { return h.guests["full"].Stats().Sockets == 0 })
		h.dialTarget(t, "/socket/full/websocket?vsn=2.0.0", nil)
		if n := h.guests["full"].Stats().Refused; n != 1 {
			t.Errorf("%d refused, want 1", n)
		}
	})
}

// assertRefused checks how a handshake is refused. retry is the least Retry-After, which
// may be three times as much; 0: there is none.
func (h *inn) assertRefused(t testing.TB, target string, status, retry int) {
	t.Helper()
	_, err := wstest.Dial(h.addr, target, nil)
	var refused *wstest.StatusError
	if !errors.As(err, &refused) || refused.Status != status {
		t.Errorf("%s: %v, want %d", target, err, status)
		return
	}
	text := refused.Header.Get("Retry-After")
	if seconds, _ := strconv.Atoi(text); seconds < retry || seconds > 3*retry || (text == "") != (retry == 0) {
		t.Errorf("%s: Retry-After %q, want %d to %d", target, text, retry, 3*retry)
	}
}

// TestGuestShutdown: a guest shuts down, its host and the others stay.
func TestGuestShutdown(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		h := openInn(t, o)
		so := channels.SocketOptions{LongPoll: longPolling}
		leaving := h.invite(t, "leaving", channels.Options{}, so, relayAll())
		h.invite(t, "staying", channels.Options{}, so, relayAll())
		gone, stays := h.dialTarget(t, "/socket/leaving/websocket?vsn=2.0.0", nil), h.dialTarget(t, "/socket/staying/websocket?vsn=2.0.0", nil)
		gone.join("room:1", "{}")
		stays.join("room:1", "{}")
		polling := h.poller(t)
		polling.target = "/socket/leaving/longpoll?vsn=2.0.0"
		polling.open()
		code := make(chan uint16, 1)
		go func() { code <- gone.closeCode() }()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := leaving.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if c := <-code; c != 1012 {
			t.Errorf("closed with %d, want 1012", c)
		}
		if a := polling.must("GET", "", nil); a.http != http.StatusServiceUnavailable {
			t.Errorf("the poll of a session that is over: %d", a.http)
		}
		h.assertRefused(t, "/socket/leaving/websocket?vsn=2.0.0", 503, 2)
		if s := h.Stats(); s.Opened != 3 || s.Sockets != 1 {
			t.Errorf("counted of all: %+v", s)
		}
		if s := leaving.Stats(); s.Sockets != 0 || s.Channels != 0 || s.LongPoll.Sessions != 0 {
			t.Errorf("left: %+v", s)
		}
		stays.assertReply("1", "room:1", "said", "{}", "ok", "{}")
		if err := leaving.Broadcast("room:1", "said", struct{}{}); err == nil {
			t.Error("a broadcast on a guest that is gone got no error")
		}
	})
}

// TestGuestsHavePaceTogether: two guests that leave at once close no more
// sockets in an interval than the host's Drain allows.
func TestGuestsHavePaceTogether(t *testing.T) { synctest.Test(t, testGuestsHavePaceTogether) }

func testGuestsHavePaceTogether(t *testing.T) {
	const interval = 200 * time.Millisecond
	h := channelstest.Start(t, channels.Options{Loops: 1, Drain: channels.Drain{Batch: 2, Interval: interval, Timeout: patience}})
	var guests, clients sync.WaitGroup
	began, closed := time.Now(), make(chan time.Duration, 6)
	for _, path := range []string{"/a", "/b"} {
		guest, err := channels.NewEndpoint(channels.Options{Host: h.Endpoint})
		if err != nil {
			t.Fatal(err)
		}
		guest.Socket("/", channels.SocketOptions{}, relayAll())
		h.Route(path, func(below string) (*channels.Endpoint, string, error) { return guest, "/" + below, nil })
		for range 3 {
			c := channelstest.Connect(t, h, path)
			clients.Go(func() {
				c.AssertClosed(1012)
				closed <- time.Since(began)
			})
		}
		guests.Go(func() {
			if err := guest.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	guests.Wait()
	clients.Wait()
	close(closed)
	at := make(map[time.Duration]int)
	for d := range closed {
		at[d/interval]++
	}
	if want := map[time.Duration]int{0: 2, 1: 2, 2: 2}; !maps.Equal(at, want) {
		t.Errorf("closed by interval: %v, want %v", at, want)
	}
}

// TestGuestsShareABatch: guests with few sockets each do not use up a batch each.
func TestGuestsShareABatch(t *testing.T) {
	h := openInn(t, channels.Options{Loops: 2, Drain: channels.Drain{Batch: 10, Interval: time.Hour, Timeout: patience}})
	var wg sync.WaitGroup
	for _, id := range []string{"a", "b", "c", "d", "e"} {
		guest := h.invite(t, id, channels.Options{}, channels.SocketOptions{}, relayAll())
		for range 2 {
			p := h.dialTarget(t, "/socket/"+id+"/websocket?vsn=2.0.0", nil)
			wg.Go(func() { p.closeCode() })
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := guest.Shutdown(ctx); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		})
	}
	wg.Wait()
}

// TestGuestMisuse: mistakes are refused when guests are made.
func TestGuestMisuse(t *testing.T) {
	h := openInn(t, channels.Options{Loops: 1})
	guest := h.invite(t, "a", channels.Options{}, channels.SocketOptions{}, relayAll())
	if _, err := channels.NewEndpoint(channels.Options{Host: guest}); err == nil {
		t.Error("a guest took a guest")
	}
	if _, err := guest.Listen("127.0.0.1:0"); err == nil {
		t.Error("a guest listened")
	}
	assertPanics(t, "two routes at one prefix", func() { h.Route("/socket", nil) })
	assertPanics(t, "a relative prefix", func() { h.Route("socket", nil) })
}

func assertPanics(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}
