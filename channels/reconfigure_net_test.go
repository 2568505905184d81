package channels_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// answering returns a channel that answers a join with n, which tells one
// configuration from another.
func answering(pattern string, n int) *channels.Channel {
	return channels.Handle(pattern, func(*channels.Context, struct{}) (int, error) { return n, nil })
}

// configuration returns a configuration whose parts all show its number: n
// channels a socket, an origin with n in it, joins answered with n.
func configuration(n int) (channels.Limits, channels.SocketOptions, *channels.Channel) {
	return channels.Limits{MaxChannels: n},
		channels.SocketOptions{CheckOrigin: channels.Origins(fmt.Sprintf("https://n%d.example", n))},
		answering("room:*", n)
}

func (s *server) reconfigure(t testing.TB, n int) {
	t.Helper()
	l, o, ch := configuration(n)
	if err := s.Reconfigure("/socket", l, o, ch); err != nil {
		t.Fatal(err)
	}
}

// channelsOf joins until it is refused, and returns what the joins were
// answered with and how many there were.
func channelsOf(p *peer) (response string, joined int, err error) {
	for {
		_, reply, err := p.tryJoin(fmt.Sprintf("room:%d", joined), "{}")
		if err != nil || reply.status != "ok" {
			return response, joined, err
		}
		if joined > 0 && response != string(reply.response) {
			return response, joined, fmt.Errorf("joins answered %s and %s", response, reply.response)
		}
		response = string(reply.response)
		joined++
	}
}

func TestReconfigure(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		l, so, ch := configuration(2)
		o.Limits = l
		s := serve(t, o, so, ch)
		before := s.dial(t)
		before.join("room:0", "{}")
		s.reconfigure(t, 3)
		if response, joined, err := channelsOf(before); response != "2" || joined != 2 || err != nil {
			t.Errorf("the socket from before: %d channels, answered %s, %v; want 2 and 2", joined, response, err)
		}
		if response, joined, err := channelsOf(s.dial(t)); response != "3" || joined != 3 || err != nil {
			t.Errorf("the socket from after: %d channels, answered %s, %v; want 3 and 3", joined, response, err)
		}
		for n, status := range map[int]int{2: 403, 3: 101} {
			c, err := wstest.Dial(s.addr, "/socket/websocket", http.Header{"Origin": {fmt.Sprintf("https://n%d.example", n)}})
			if err == nil {
				c.Drop()
			}
			if (err == nil) != (status == 101) {
				t.Errorf("origin n%d: %v, want %d", n, err, status)
			}
		}
		if err := s.Reconfigure("/other", channels.Limits{}, channels.SocketOptions{}); err == nil || !strings.Contains(err.Error(), `"/other"`) {
			t.Errorf("a path without a socket: %v", err)
		}
	})
}

// Connections are counted before there is a limit, and those that have gone
// are not.
func TestReconfigureConnectionLimit(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{}, room())
		first, second := s.dial(t), s.dial(t)
		first.join("room:1", "{}")
		second.join("room:1", "{}")
		accepted := func() bool {
			c, err := wstest.Dial(s.addr, "/socket/websocket", nil)
			if err == nil {
				c.Drop()
			}
			return err == nil
		}
		limit := func(l channels.Limits) {
			if err := s.Reconfigure("/socket", l, channels.SocketOptions{}, room()); err != nil {
				t.Fatal(err)
			}
		}
		limit(channels.Limits{MaxConnections: 2})
		if accepted() {
			t.Error("a third connection of two")
		}
		second.Drop()
		waitFor(t, "the place of the one that left", accepted)
		limit(channels.Limits{MaxConnectionsPerAddress: 1})
		waitFor(t, "one that is counted by its address", accepted)
		limit(channels.Limits{})
		for range 3 {
			if !accepted() {
				t.Error("refused without a limit")
			}
		}
		first.join("room:2", "{}")
	})
}

func TestReconfigureLongPoll(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, channels.SocketOptions{}, answering("room:*", 1))
		status := func() int {
			r, err := s.poller(t).do(mustRequest(t, "http://"+s.addr+"/socket/longpoll?vsn=2.0.0"))
			if err != nil {
				t.Fatal(err)
			}
			r.Body.Close()
			return r.StatusCode
		}
		for _, c := range []struct {
			enabled bool
			want    int
		}{{false, 404}, {true, 200}, {true, 200}, {false, 404}} {
			err := s.Reconfigure("/socket", channels.Limits{}, channels.SocketOptions{LongPoll: channels.LongPollOptions{Enabled: c.enabled}}, room())
			if got := status(); err != nil || got != c.want {
				t.Errorf("long polling %v: %v, answered %d, want %d", c.enabled, err, got, c.want)
			}
		}
		s.Socket("/socket/longpoll", channels.SocketOptions{Path: "/"}, room())
		taken := channels.SocketOptions{LongPoll: channels.LongPollOptions{Enabled: true}}
		if err := s.Reconfigure("/socket", channels.Limits{}, taken, room()); err == nil || !strings.Contains(err.Error(), "/socket/longpoll") {
			t.Errorf("a path that is taken: %v", err)
		}
	})
}

func mustRequest(t testing.TB, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// No socket sees one part of a configuration and another part of the next.
func TestReconfigureUnderTraffic(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		l, so, ch := configuration(1)
		o.Limits = l
		s := serve(t, o, so, ch)
		var done atomic.Bool
		var clients sync.WaitGroup
		for range 4 {
			clients.Go(func() {
				for range 25 {
					c, err := wstest.Dial(s.addr, "/socket/websocket?vsn=2.0.0", nil)
					if err != nil {
						t.Errorf("connecting: %v", err)
						return
					}
					p := newPeer(t, c, "vsn=2")
					response, joined, err := channelsOf(p)
					p.Drop()
					if err != nil || response != fmt.Sprint(joined) {
						t.Errorf("%d channels of configuration %s, %v", joined, response, err)
					}
				}
			})
		}
		var changer sync.WaitGroup
		changer.Go(func() {
			for n := 0; !done.Load(); n++ {
				s.reconfigure(t, 1+n%5)
			}
		})
		clients.Wait()
		done.Store(true)
		changer.Wait()
	})
}

// A guest counts its own connections, before it has a limit too.
func TestReconfigureGuest(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		h := openInn(t, o)
		guest := h.invite(t, "a", channels.Options{}, channels.SocketOptions{}, relayAll())
		first := h.dialTarget(t, "/socket/a/websocket?vsn=2.0.0", nil)
		first.join("room:1", "{}")
		if err := guest.Reconfigure("/", channels.Limits{MaxConnections: 1}, channels.SocketOptions{}, relayAll()); err != nil {
			t.Fatal(err)
		}
		h.assertRefused(t, "/socket/a/websocket?vsn=2.0.0", 503, 1)
		h.dial(t).join("room:1", "{}") // the host has no limit
		first.Drop()
		waitFor(t, "the place of the one that left", func() bool {
			c, err := wstest.Dial(h.addr, "/socket/a/websocket?vsn=2.0.0", nil)
			if err == nil {
				c.Drop()
			}
			return err == nil
		})
	})
}
