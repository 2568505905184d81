package channels_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/waittest"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
)

// sessionOf is a name for a session.
func sessionOf(name string) string { return "session-of-" + name + "-0123456789" }

// dialAs connects a client of version 2 with a session.
func (s *server) dialAs(t testing.TB, name string) *peer {
	t.Helper()
	return s.dialTarget(t, "/socket/websocket?vsn=2.0.0&session="+sessionOf(name), nil)
}

// serveSessions is serve with a history, whose clients acknowledge when the test says so.
func serveSessions(t testing.TB, o channels.Options, so channels.SocketOptions, ch *channels.Channel, rules ...history.Rule) *server {
	t.Helper()
	s := serve(t, recorded(t, o, rules...), so, ch)
	s.SetPulse(time.Hour)
	return s
}

// acknowledge has clients acknowledge what they have read: each answers a ping, and then
// sends a message.
func (s *server) acknowledge(t testing.TB, clients ...func()) {
	t.Helper()
	confirmed := func() bool {
		st := s.History().Sessions().Stats()
		return st.Confirmed == st.Probes
	}
	waittest.For(t, "the answer to the probe behind a replay", confirmed) // else the beat only sends that again
	s.Beat(t.Context())
	for _, answer := range clients {
		answer()
	}
	waittest.For(t, "the acknowledgements", confirmed)
}

// acknowledges answers a ping and sends a heartbeat.
func (p *peer) acknowledges() {
	p.t.Helper()
	p.answerPing()
	p.assertReply("", "phoenix", "heartbeat", "{}", "ok", "{}")
}

// answerPing wants a ping next, and answers it.
func (p *peer) answerPing() {
	p.t.Helper()
	op, payload, err := p.ReadFrame()
	if err != nil || op != ws.OpPing {
		p.t.Fatalf("received %v %q, %v; want a ping", op, payload, err)
	}
	if err := p.WriteFrame(ws.OpPong, payload); err != nil {
		p.t.Fatal(err)
	}
}

// TestSessionToldOfAGap: a client is told of a gap until it has acknowledged that, even if no message comes with it.
func TestSessionToldOfAGap(t *testing.T) {
	s := serveSessions(t, channels.Options{}, channels.SocketOptions{}, relayed(), history.Rule{Topics: []string{"room:*"}, Messages: 1})
	ada := s.dialAs(t, "ada")
	ada.join("room:1", `{}`)
	s.acknowledge(t, ada.acknowledges)
	ada.Drop()
	s.kept(t, 1)
	s.say(t, "room:1", 0, 1)
	own := history.Message{Event: "said", Payload: []byte(`{}`), Sender: s.History().SessionKey("", sessionOf("ada")).Sender()}
	if err := s.History().Record("room:1", &own, func(bool) {}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		ada = s.dialAs(t, "ada")
		ref := ada.join("room:1", `{"history":{}}`)
		ada.assertNext(ref, "room:1", "history_state", stateOf(0, "expired"))
		s.Beat(t.Context())
		ada.Drop()
		s.kept(t, 1)
	}
}

// kept waits until so many sessions are kept.
func (s *server) kept(t testing.TB, n int) {
	t.Helper()
	waittest.For(t, fmt.Sprintf("%d sessions are kept", n), func() bool { return s.History().Sessions().Stats().Kept == n })
}

// TestSession: a client that names its session gets what it missed, and no event that it
// does not know.
func TestSession(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		for name, ch := range map[string]*channels.Channel{"goroutines": relayed(), "loop": relayed().OnLoop()} {
			t.Run(name, func(t *testing.T) {
				s := serveSessions(t, o, channels.SocketOptions{}, ch, history.Rule{Topics: []string{"room:*"}})
				s.say(t, "room:1", 0, 3)
				ada := s.dialAs(t, "ada")
				ada.join("room:1", `{}`)
				ada.join("other", `{}`)
				s.say(t, "room:1", 3, 5)
				ada.assertSaid("room:1", 3, 5)
				ada.Drop()
				s.kept(t, 1)
				s.say(t, "room:1", 5, 8)
				s.say(t, "room:2", 0, 2)

				ada = s.dialAs(t, "ada")
				ada.join("room:1", `{}`)
				ada.assertSaid("room:1", 3, 8) // nothing was acknowledged
				ada.join("room:2", `{}`)       // for the first time
				s.say(t, "room:2", 2, 3)
				ada.assertSaid("room:2", 2, 3)
				s.acknowledge(t, ada.acknowledges)
				ada.Drop()
				s.kept(t, 1)
				s.say(t, "room:1", 8, 9)
				s.say(t, "room:2", 3, 4)

				ada = s.dialAs(t, "ada")
				ada.join("room:2", `{}`)
				ada.assertSaid("room:2", 3, 4)
				ref := ada.join("room:1", `{"history":{}}`) // asks for the state
				ada.assertNext(ref, "room:1", "history_state", stateOf(1, ""))
				ada.assertSaid("room:1", 8, 9)
				ada.mark()
				ada.assertReply(ref, "room:1", "phx_leave", "{}", "ok", "{}")
				ada.assertNext(ref, "room:1", "phx_close", "{}")
				ada.Drop()
				s.kept(t, 1)
				s.say(t, "room:1", 9, 10)
				s.say(t, "room:2", 4, 5)

				ada = s.dialAs(t, "ada")
				ada.join("room:1", `{}`) // which it had left
				ada.join("room:2", `{}`)
				ada.await("said")
				bob := s.dialAs(t, "bob")
				bob.join("room:1", `{}`)
				s.say(t, "room:1", 10, 11)
				bob.assertSaid("room:1", 10, 11)
			})
		}
	})
}

// TestSessionClients: clients of each version and dialect, with and without compression,
// acknowledge and get what they missed in their encoding.
func TestSessionClients(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serveSessions(t, o, channels.SocketOptions{Dialect: toyDialect, Compress: true}, relayed(), history.Rule{})
		long := fmt.Sprintf(`{"x":"%s"}`, strings.Repeat("long ", 500))
		publish := func(n int) {
			t.Helper()
			s.say(t, "room:1", n, n+1)
			if err := s.Broadcast("room:1", "raw", channels.Binary("\x00\xff")); err != nil {
				t.Fatal(err)
			}
			if err := s.Broadcast("room:1", "long", json.RawMessage(long)); err != nil {
				t.Fatal(err)
			}
		}
		v2 := func() *peer { return s.dialAs(t, "two") }
		v1 := func() *peer {
			return s.dialTarget(t, "/socket/websocket?session="+sessionOf("one"), http.Header{"Sec-WebSocket-Extensions": {"permessage-deflate"}})
		}
		read := func(two, one *peer, n int) {
			t.Helper()
			two.assertSaid("room:1", n, n+1)
			if m, err := two.read(); err != nil || m.event != "raw" || string(m.binary) != "\x00\xff" {
				t.Fatalf("version 2 got %v: %v", m, err)
			}
			two.assertNext("", "room:1", "long", long)
			one.assertSaid("room:1", n, n+1)
			one.assertNext("", "room:1", "long", long)
		}
		two, one, toy := v2(), v1(), toySocket(t, s, "&session="+sessionOf("toy"))
		two.join("room:1", `{}`)
		one.join("room:1", `{}`)
		toy.send("room:1 phx_join 7 8 {}")
		toy.want("room:1 phx_reply 7 8 ok:{}")
		publish(0)
		read(two, one, 0)
		for _, m := range []string{"\x08\x06\x04room:1saidj" + `{"n":0}`, "\x08\x06\x03room:1rawb\x00\xff", "\x08\x06\x04room:1longj" + long} {
			toy.want(m)
		}
		s.acknowledge(t, two.acknowledges, one.acknowledges, func() {
			toy.peer.answerPing()
			toy.send("phoenix heartbeat - 9 {}")
			toy.want("phoenix phx_reply - 9 ok:{}")
		})
		two.Drop()
		one.Drop()
		toy.peer.Drop()
		s.kept(t, 3)
		publish(1)
		two, one, toy = v2(), v1(), toySocket(t, s, "&session="+sessionOf("toy"))
		two.join("room:1", `{}`)
		one.join("room:1", `{}`)
		read(two, one, 1)
		toy.send("room:1 phx_join 7 8 {}")
		toy.want("room:1 phx_reply 7 8 ok:{}")
		toy.want("\x08\x06\x04room:1saidj" + `{"n":1}`)
	})
}

// TestSessionPolls: the second poll after an answer acknowledges it, because a client that has
// sent the first may not have handled the answer yet.
func TestSessionPolls(t *testing.T) {
	s := serveSessions(t, channels.Options{Loops: 2}, channels.SocketOptions{LongPoll: longPolling}, relayed(), history.Rule{})
	open := func() *lpClient {
		c := s.poller(t)
		c.target += "&session=" + sessionOf("polls")
		c.open()
		return c
	}
	poll := open()
	poll.post(`["1","1","room:1","phx_join",{}]`)
	poll.assertNext("1", "1", "room:1", "phx_reply", "ok {}")
	s.say(t, "room:1", 0, 1)
	poll.assertNext("", "", "room:1", "said", `{"n":0}`)
	before := s.History().Sessions().Stats().Confirmed
	s.Beat(t.Context())
	poll.post(`[null,"2","phoenix","heartbeat",{}]`)
	poll.assertNext("", "2", "phoenix", "phx_reply", "ok {}")
	if got := s.History().Sessions().Stats().Confirmed; got != before {
		t.Error("one poll after the answer has acknowledged it")
	}
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		poll.request(ctx, "GET", "", nil)
	}()
	waittest.For(t, "the acknowledgement", func() bool { return s.History().Sessions().Stats().Confirmed == before+1 })
	cancel()
	<-asked
	s.say(t, "room:1", 1, 3)

	again := open() // the first session is still there
	again.post(`["1","1","room:1","phx_join",{}]`)
	again.assertNext("1", "1", "room:1", "phx_reply", "ok {}")
	again.assertNext("", "", "room:1", "said", `{"n":1}`)
	again.assertNext("", "", "room:1", "said", `{"n":2}`)
}

// TestSessionSender: what a client has broadcast to all others is not sent to it when it
// comes back.
func TestSessionSender(t *testing.T) {
	s := serveSessions(t, channels.Options{Loops: 2}, channels.SocketOptions{}, relayedFrom(), history.Rule{})
	ada, bob := s.dialAs(t, "ada"), s.dialAs(t, "bob")
	ref := ada.join("room:1", `{}`)
	bobRef := bob.join("room:1", `{}`)
	ada.push(ref, "room:1", "said", `{"n":0}`)
	bob.assertSaid("room:1", 0, 1)
	bob.push(bobRef, "room:1", "said", `{"n":1}`)
	ada.assertSaid("room:1", 1, 2)
	ada.Drop()
	bob.Drop()
	s.kept(t, 2)
	ada, bob = s.dialAs(t, "ada"), s.dialAs(t, "bob")
	ada.join("room:1", `{}`)
	ada.assertSaid("room:1", 1, 2)
	bob.join("room:1", `{}`)
	bob.assertSaid("room:1", 0, 1)
	s.say(t, "room:1", 2, 3)
	ada.assertSaid("room:1", 2, 3)
	bob.assertSaid("room:1", 2, 3)
}

// TestSessionHalfOpen: a connection that does not answer is ended when its client comes
// back.
func TestSessionHalfOpen(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, recorded(t, o, history.Rule{}), channels.SocketOptions{}, relayed())
		s.SetPulse(50 * time.Millisecond)
		old := s.dialAs(t, "ada")
		old.join("room:1", `{}`)
		s.say(t, "room:1", 0, 2)
		old.assertSaid("room:1", 0, 1) // and reads no more
		next := s.dialAs(t, "ada")
		next.join("room:1", `{}`)
		next.assertSaid("room:1", 0, 2)
		waittest.For(t, "the old connection is ended", func() bool { return s.Stats().Sockets == 1 })
		s.say(t, "room:1", 2, 3)
		next.assertSaid("room:1", 2, 3)
	})
}

// TestSessionTwice: a connection that answers stays when another takes its session, so
// that two pages with one session do not end each other for ever.
func TestSessionTwice(t *testing.T) {
	t.Parallel()
	s := serve(t, recorded(t, channels.Options{Loops: 2}, history.Rule{}), channels.SocketOptions{}, relayed())
	one := s.dialAs(t, "ada")
	one.join("room:1", `{}`)
	two := s.dialAs(t, "ada")
	two.join("room:1", `{}`)
	one.answerPing()
	time.Sleep(channels.PulseEvery + 100*time.Millisecond) // nothing happens
	s.say(t, "room:1", 0, 1)
	one.assertSaid("room:1", 0, 1)
	two.assertSaid("room:1", 0, 1)
	two.Drop()
	s.kept(t, 1)
	s.say(t, "room:1", 1, 2)
	three := s.dialAs(t, "ada")
	three.join("room:1", `{}`)
	three.assertSaid("room:1", 0, 2)
}

// TestSessionRefused: a session that could be guessed is refused, and so is one that is
// too long; without a history it is a parameter like any other.
func TestSessionRefused(t *testing.T) {
	s := serveSessions(t, channels.Options{Loops: 1}, channels.SocketOptions{}, relayed(), history.Rule{})
	for _, query := range []string{"session=", "session=tab1", "session=" + strings.Repeat("x", 129), "session=" + strings.Repeat("ä", 15), "session[a]=0123456789abcdef"} {
		conn := s.raw(t)
		status, body, _ := exchange(t, conn.Conn(), "GET /socket/websocket?vsn=2.0.0&"+query+" HTTP/1.1\r\nHost: x\r\n"+
			"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		if status != 400 || body != `the parameter "session" must have 16 to 128 characters, for example a random UUID` {
			t.Errorf("%s: %d %s", query, status, body)
		}
	}
	for _, name := range []string{strings.Repeat("ä", 16), strings.Repeat("ä", 128)} {
		s.dialTarget(t, "/socket/websocket?vsn=2.0.0&session="+url.QueryEscape(name), nil).join("room:1", `{}`)
	}
	plain := serve(t, channels.Options{Loops: 1}, channels.SocketOptions{}, relayed())
	plain.dialTarget(t, "/socket/websocket?vsn=2.0.0&session=tab1", nil).join("room:1", `{}`)
}

// TestSessionOfASuspendedPage: a ping that is answered for a page does not count before
// the page itself has sent something, apart from the one behind a replay.
func TestSessionOfASuspendedPage(t *testing.T) {
	s := serveSessions(t, channels.Options{Loops: 1}, channels.SocketOptions{}, relayed(), history.Rule{})
	confirmed := func() uint64 { return s.History().Sessions().Stats().Confirmed }
	ada := s.dialAs(t, "ada")
	ada.join("room:1", `{}`)
	s.say(t, "room:1", 0, 1)
	ada.assertSaid("room:1", 0, 1)
	s.Beat(t.Context())
	ada.answerPing()
	ada.Drop()
	s.kept(t, 1)
	if n := confirmed(); n != 0 {
		t.Errorf("%d pings counted", n)
	}
	ada = s.dialAs(t, "ada")
	ada.join("room:1", `{}`)
	ada.assertSaid("room:1", 0, 1)
	ada.answerPing() // behind the replay
	waittest.For(t, "the answer behind a replay counts", func() bool { return confirmed() == 1 })
	s.say(t, "room:1", 1, 2)
	ada.assertSaid("room:1", 1, 2)
	s.Beat(t.Context())
	ada.acknowledges()
	waittest.For(t, "the answer before a message counts", func() bool { return confirmed() == 2 })
}

// TestSessionOfAnother: two users with the same session are strangers to each other.
func TestSessionOfAnother(t *testing.T) {
	s := serveSessions(t, channels.Options{Loops: 1}, channels.SocketOptions{Connect: func(_ context.Context, s *channels.Socket, r *channels.Request) error {
		s.SetID("user:" + r.Params.Get("user"))
		return nil
	}}, relayed(), history.Rule{})
	connect := func(user string) *peer {
		return s.dialTarget(t, "/socket/websocket?vsn=2.0.0&user="+user+"&session="+sessionOf("both"), nil)
	}
	ada := connect("ada")
	ada.join("room:1", `{}`)
	s.say(t, "room:1", 0, 1)
	eve := connect("eve")
	eve.join("room:1", `{}`)
	s.say(t, "room:1", 1, 2)
	eve.assertSaid("room:1", 1, 2)
	ada.assertSaid("room:1", 0, 2)
}

// TestSessionIntercepted: neither a pong nor a mark includes what a handler has yet to
// send.
func TestSessionIntercepted(t *testing.T) {
	release := make(chan struct{})
	ch := channels.Handle("*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	})
	channels.Intercept(ch, "said", func(c *channels.Context, m struct{ N int }) error {
		<-release
		return c.Push("heard", m)
	})
	s := serveSessions(t, channels.Options{Loops: 1}, channels.SocketOptions{}, ch, history.Rule{})
	ada, bob := s.dialAs(t, "ada"), s.dial(t)
	ada.join("room:1", `{}`)
	bob.join("room:1", `{"history":{}}`)
	bob.await("history_mark")
	s.say(t, "room:1", 0, 1)
	s.Beat(t.Context())
	ada.join("room:2", `{}`) // no ping precedes the reply
	bob.join("room:2", `{}`) // and no mark
	close(release)
	ada.await("heard")
	ada.answerPing()
	bob.assertNext("1", "room:1", "heard", `{"N":0}`)
	bob.mark()
}

// TestSessionTLS: with TLS everything is the same.
func TestSessionTLS(t *testing.T) {
	serverSide, clientSide := selfSigned(t)
	s := serveSessions(t, channels.Options{Loops: 1, TLS: serverSide}, channels.SocketOptions{}, relayed(), history.Rule{})
	connect := func() *peer {
		c, err := tls.Dial("tcp", s.addr, clientSide)
		if err != nil {
			t.Fatal(err)
		}
		target := "/socket/websocket?vsn=2.0.0&session=" + sessionOf("ada")
		client, err := wstest.NewClient(c, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		return newPeer(t, client, target)
	}
	ada := connect()
	ada.join("room:1", `{}`)
	s.say(t, "room:1", 0, 2)
	ada.assertSaid("room:1", 0, 2)
	s.acknowledge(t, ada.acknowledges)
	ada.Drop()
	s.kept(t, 1)
	s.say(t, "room:1", 2, 3)
	ada = connect()
	ada.join("room:1", `{}`)
	ada.assertSaid("room:1", 2, 3)
}
