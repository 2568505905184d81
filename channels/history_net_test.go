package channels_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
)

// recorded returns o with a history.
func recorded(t testing.TB, o channels.Options, rules ...history.Rule) channels.Options {
	t.Helper()
	return recordedAt(t, o, nil, rules...)
}

func recordedAt(t testing.TB, o channels.Options, now func() time.Time, rules ...history.Rule) channels.Options {
	t.Helper()
	store := history.NewStore(history.Options{Now: now})
	t.Cleanup(store.Close)
	sp, err := store.Space("", rules)
	if err != nil {
		t.Fatal(err)
	}
	o.History = sp
	return o
}

// atRest is recorded with a clock that stands still, so that clients that follow a topic are
// sent no mark but the first.
func atRest(t testing.TB, o channels.Options, rules ...history.Rule) channels.Options {
	t.Helper()
	now := time.Now()
	return recordedAt(t, o, func() time.Time { return now }, rules...)
}

// relayedFrom is relayed for clients that do not get what they push.
func relayedFrom() *channels.Channel {
	ch := channels.Handle("*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	})
	ch.OnAny(func(c *channels.Context, event string, p channels.Payload) (channels.Reply, error) {
		return channels.Reply{}, c.RelayFrom(event, p)
	})
	return ch.OnLoop()
}

// say broadcasts numbers.
func (s *server) say(t testing.TB, topic string, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if err := s.Broadcast(topic, "said", map[string]int{"n": i}); err != nil {
			t.Fatal(err)
		}
	}
}

// assertSaid wants the numbers next.
func (p *peer) assertSaid(topic string, from, to int) {
	p.t.Helper()
	for i := from; i < to; i++ {
		p.assertNext("", topic, "said", fmt.Sprintf(`{"n":%d}`, i))
	}
}

// mark wants a history_mark next and returns its position.
func (p *peer) mark() string {
	p.t.Helper()
	m, err := p.read()
	if err != nil || m.event != "history_mark" {
		p.t.Fatalf("received %v, %v; want a mark", m, err)
	}
	return posOf(p.t, m)
}

func posOf(t testing.TB, m envelope) string {
	t.Helper()
	var mark struct{ Pos string }
	if err := json.Unmarshal(m.payload, &mark); err != nil || mark.Pos == "" {
		t.Fatalf("%v: %v", m, err)
	}
	return mark.Pos
}

func after(pos string) string { return fmt.Sprintf(`{"history":{"after":%q}}`, pos) }

// stateOf returns a history_state with replayed messages; reason is "" for none.
func stateOf(replayed int, reason string) string {
	if reason == "" {
		return fmt.Sprintf(`{"recovered":true,"replayed":%d}`, replayed)
	}
	return fmt.Sprintf(`{"recovered":false,"reason":%q,"replayed":%d}`, reason, replayed)
}

func TestHistory(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		for name, ch := range map[string]*channels.Channel{"goroutines": relayed(), "loop": relayed().OnLoop()} {
			t.Run(name, func(t *testing.T) {
				s := serve(t, atRest(t, o, history.Rule{Topics: []string{"room:*"}, Messages: 5}), channels.SocketOptions{}, ch)
				ada := s.dial(t)
				ref := ada.join("room:1", `{"history":{}}`)
				ada.assertNext(ref, "room:1", "history_state", stateOf(0, ""))
				start := ada.mark()
				plain := s.dial(t)
				plain.join("room:1", `{}`)
				s.say(t, "room:1", 0, 1)
				ada.assertSaid("room:1", 0, 1)
				pos := ada.mark() // of the first message, at once
				s.say(t, "room:1", 1, 3)
				ada.assertSaid("room:1", 1, 3)
				ada.Drop()
				s.say(t, "room:1", 3, 5)

				ada = s.dial(t)
				ref = ada.join("room:1", after(pos))
				ada.assertNext(ref, "room:1", "history_state", stateOf(4, ""))
				ada.assertSaid("room:1", 1, 5)
				pos = ada.mark()
				s.say(t, "room:1", 5, 7)
				ada.assertSaid("room:1", 5, 7)

				old := s.dial(t)
				ref = old.join("room:1", after(start))
				old.assertNext(ref, "room:1", "history_state", stateOf(5, "expired"))
				old.assertSaid("room:1", 2, 7)
				old.mark()
				ended := ref
				ref = old.join("room:1", after(pos)) // again, on the same connection
				old.assertNext(ended, "room:1", "phx_close", "{}")
				old.assertNext(ref, "room:1", "history_state", stateOf(2, ""))
				old.assertSaid("room:1", 5, 7)

				// Who does not ask gets nothing new.
				plain.assertSaid("room:1", 0, 7)
				s.say(t, "other", 0, 1)
				plain.join("other", `{"history":{}}`)
				s.say(t, "other", 1, 2)
				plain.assertSaid("other", 1, 2)
				if got, want := s.Stats().History, (channels.HistoryStats{Replays: 3, Messages: 11, Expired: 1}); got != want {
					t.Errorf("counted %+v, want %+v", got, want)
				}
			})
		}
	})
}

func TestHistoryAsks(t *testing.T) {
	s := serve(t, recorded(t, channels.Options{Loops: 2}, history.Rule{Topics: []string{"room:*"}},
		history.Rule{Topics: []string{"lobby"}, OnJoin: 2, Events: []string{"said"}}), channels.SocketOptions{}, relayed())
	client := s.dial(t)
	s.say(t, "room:1", 0, 2)
	time.Sleep(2 * time.Millisecond)
	since := time.Now().UnixMilli()
	time.Sleep(2 * time.Millisecond)
	s.say(t, "room:1", 2, 5)
	s.say(t, "lobby", 0, 5)
	for _, test := range []struct {
		topic, params string
		first, last   int
		reason        string
		silent        bool
	}{
		{"room:1", `{"history":{"last":2}}`, 3, 5, "", false},
		{"room:1", `{"history":{"last":20}}`, 0, 5, "", false},
		{"room:1", fmt.Sprintf(`{"history":{"since":%d}}`, since), 2, 5, "", false},
		{"room:1", fmt.Sprintf(`{"history":{"since":%d,"limit":1}}`, since), 4, 5, "limit", false},
		{"room:1", `{"history":{"since":0}}`, 0, 5, "", false},
		{"room:1", `{"history":{"last":-1}}`, 5, 5, "", false},
		{"lobby", `{}`, 3, 5, "", true},
		{"lobby", `{"history":{}}`, 5, 5, "", false},
		{"lobby", `{"history":{"last":1}}`, 4, 5, "", false},
	} {
		ref := client.join(test.topic, test.params)
		if !test.silent {
			client.assertNext(ref, test.topic, "history_state", stateOf(test.last-test.first, test.reason))
		}
		client.assertSaid(test.topic, test.first, test.last)
		if !test.silent {
			client.mark()
		}
		client.assertReply(ref, test.topic, "phx_leave", "{}", "ok", "{}")
		client.assertNext(ref, test.topic, "phx_close", "{}")
	}
	ref := client.join("lobby", `{}`)
	client.assertSaid("lobby", 3, 5)
	client.assertReply(ref, "lobby", "secret", `{}`, "ok", "{}")
	if n := len(s.History().Last("lobby", 10)); n != 5 {
		t.Errorf("%d messages are recorded: events that no rule names are not", n)
	}
}

// TestHistoryEncodings: each kind of client is sent the same replay, in its encoding;
// bytes to those who can take them.
func TestHistoryEncodings(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, recorded(t, o, history.Rule{}), channels.SocketOptions{Dialect: toyDialect, LongPoll: longPolling, Compress: true}, relayed())
		s.say(t, "room:1", 0, 1)
		if err := s.Broadcast("room:1", "raw", channels.Binary("\x00\xff")); err != nil {
			t.Fatal(err)
		}
		long := fmt.Sprintf(`{"x":"%s"}`, strings.Repeat("long ", 500))
		if err := s.Broadcast("room:1", "long", json.RawMessage(long)); err != nil {
			t.Fatal(err)
		}
		const params = `{"history":{"last":10}}`
		state := stateOf(3, "")

		v2 := s.dial(t)
		ref := v2.join("room:1", params)
		v2.assertNext(ref, "room:1", "history_state", state)
		v2.assertSaid("room:1", 0, 1)
		if m, err := v2.read(); err != nil || m.event != "raw" || string(m.binary) != "\x00\xff" {
			t.Fatalf("version 2 got %v: %v", m, err)
		}
		v2.assertNext("", "room:1", "long", long)
		v2.mark()

		v1 := s.dialV1(t)
		v1.join("room:1", params)
		v1.assertNext("", "room:1", "history_state", state)
		v1.assertSaid("room:1", 0, 1)
		v1.assertNext("", "room:1", "long", long)
		v1.mark()

		poll := s.polls(t)
		poll.post(`["1","1","room:1","phx_join",` + params + `]`)
		poll.assertNext("1", "1", "room:1", "phx_reply", "ok {}")
		poll.assertNext("1", "", "room:1", "history_state", state)
		poll.assertNext("", "", "room:1", "said", `{"n":0}`)
		poll.assertNext("", "", "room:1", "long", long)

		toy := toySocket(t, s)
		toy.send("room:1 phx_join 7 8 " + params)
		toy.want("room:1 phx_reply 7 8 ok:{}")
		toy.want("room:1 history_state 7 - " + state)
		toy.want("\x08\x06\x04room:1saidj" + `{"n":0}`)
		toy.want("\x08\x06\x03room:1rawb\x00\xff")
		toy.want("\x08\x06\x04room:1longj" + long)
		if n := s.Stats().LongPoll.Binary; n != 1 {
			t.Errorf("%d messages of bytes were left out for the poll", n)
		}
	})
}

// TestHistorySender: what a client has sent to all others is not sent to it when it
// comes back, if it has named itself.
func TestHistorySender(t *testing.T) {
	s := serve(t, atRest(t, channels.Options{Loops: 2}, history.Rule{}), channels.SocketOptions{}, relayedFrom())
	ada, bob := s.dial(t), s.dial(t)
	adaRef := ada.join("room:1", `{"history":{"client":"ada's tab"}}`)
	ada.await("history_state")
	pos := ada.mark()
	bobRef := bob.join("room:1", `{"history":{"client":"bob's tab"}}`)
	ada.push(adaRef, "room:1", "said", `{"n":0}`)
	bob.await("said")
	bob.push(bobRef, "room:1", "said", `{"n":1}`)
	ada.await("said")

	again := s.dial(t)
	ref := again.join("room:1", fmt.Sprintf(`{"history":{"after":%q,"client":"ada's tab"}}`, pos))
	again.assertNext(ref, "room:1", "history_state", stateOf(1, ""))
	again.assertSaid("room:1", 1, 2)
	again.mark()
	// The old connection is still there, and what comes on it is the same client's.
	ada.push(adaRef, "room:1", "said", `{"n":2}`)
	bob.until(func(m envelope) bool { return string(m.payload) == `{"n":2}` })
	bob.push(bobRef, "room:1", "said", `{"n":3}`)
	again.assertSaid("room:1", 3, 4)

	other := s.dial(t)
	ref = other.join("room:1", after(pos))
	other.assertNext(ref, "room:1", "history_state", stateOf(4, ""))
	other.assertSaid("room:1", 0, 4)
}

// TestHistoryIntercepted: a replayed event goes through the handler that intercepts
// it.
func TestHistoryIntercepted(t *testing.T) {
	ch := channels.Handle("*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	})
	channels.Intercept(ch, "said", func(c *channels.Context, m struct{ N int }) error {
		return c.Push("heard", map[string]int{"n": m.N})
	})
	s := serve(t, recorded(t, channels.Options{Loops: 1, Limits: channels.Limits{MailboxMessages: 8}}, history.Rule{}), channels.SocketOptions{}, ch)
	s.say(t, "room:1", 0, 10)
	client := s.dial(t)
	ref := client.join("room:1", `{"history":{"last":3}}`)
	client.assertNext(ref, "room:1", "history_state", stateOf(3, ""))
	heard := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			m := client.await("heard")
			if string(m.payload) != fmt.Sprintf(`{"n":%d}`, i) {
				t.Fatalf("%v, want %d", m, i)
			}
		}
	}
	heard(7, 10)
	s.say(t, "room:1", 10, 12)
	heard(10, 12)
	ended := ref
	ref = client.join("room:1", `{"history":{"last":10}}`)
	client.assertNext(ended, "room:1", "phx_close", "{}")
	client.assertNext(ref, "room:1", "history_state", stateOf(4, "limit")) // half a mailbox
	heard(8, 12)
}

// TestHistoryOfTheServer: the program's own subscriptions hear no marks, and neither
// do channels that are forwarded the topic.
func TestHistoryOfTheServer(t *testing.T) {
	ch := channels.Handle("other", func(c *channels.Context, _ channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, c.Forward("room:1")
	})
	channels.Info(ch, func(*channels.Context, channels.Broadcast) error { return nil })
	s := serve(t, atRest(t, channels.Options{Loops: 1}, history.Rule{}), channels.SocketOptions{}, ch, relayed())
	events := heard(s, "room:1")
	follower, forwarded := s.dial(t), s.dial(t)
	follower.join("room:1", `{"history":{}}`)
	forwarded.join("other", `{}`)
	follower.await("history_mark")
	s.say(t, "room:1", 0, 1)
	follower.assertSaid("room:1", 0, 1)
	follower.mark()
	s.say(t, "room:1", 1, 2)
	forwarded.assertSaid("room:1", 0, 2)
	for i := range 2 {
		if got := <-events; got != fmt.Sprintf(`room:1 said {"n":%d}`, i) {
			t.Errorf("the program heard %s", got)
		}
	}
}

// TestHistoryOfSlowClients: a replay that is larger than what may wait for a client
// comes in pages, while others are sent theirs, and ends with the live broadcasts.
func TestHistoryOfSlowClients(t *testing.T) {
	both(t, func(t *testing.T, o channels.Options) {
		const topics, messages = 4, 200
		o.Limits = channels.Limits{OutboundBytes: 64 << 10, SendBuffer: 16 << 10}
		s := serve(t, recorded(t, o, history.Rule{Messages: 10_000, Bytes: 16 << 20}), channels.SocketOptions{}, relayed())
		payload := strings.Repeat("x", 1000)
		say := func(n int) {
			for topic := range topics {
				if err := s.Broadcast(fmt.Sprint("room:", topic), "said", map[string]any{"n": n, "x": payload}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range messages {
			say(i)
		}
		client := s.dial(t)
		for topic := range topics {
			if _, err := client.send("", fmt.Sprint("room:", topic), "phx_join", `{"history":{"since":0}}`); err != nil {
				t.Fatal(err)
			}
		}
		live := make(chan bool)
		go func() {
			defer close(live)
			for i := range 20 {
				say(messages + i)
				time.Sleep(5 * time.Millisecond)
			}
		}()
		next, done := make(map[string]int), 0
		for done < topics {
			m, err := client.read()
			if err != nil {
				t.Fatalf("with %v: %v", next, err)
			}
			var said struct{ N int }
			if m.event != "said" {
				continue
			}
			if err := json.Unmarshal(m.payload, &said); err != nil || said.N != next[m.topic] {
				t.Fatalf("%s: %d after %d, %v", m.topic, said.N, next[m.topic]-1, err)
			}
			if next[m.topic]++; next[m.topic] == messages+20 {
				done++
			}
		}
		<-live
		if n := s.Stats().Network.ClosedSlow; n > 0 {
			t.Error("the client was cut off")
		}
		if s.Stats().PutOff == 0 {
			t.Error("nothing was put off: this shows nothing")
		}
	})
}

// TestHistoryLost: clients that follow a topic are told that they cannot be sent what another
// node has recorded there.
func TestHistoryLost(t *testing.T) {
	shared := func(log history.LogID) *history.Store {
		store := history.NewStore(history.Options{Log: log})
		t.Cleanup(store.Close)
		store.Share(func(...[]byte) error { return nil }, func([]byte) {})
		return store
	}
	space := func(store *history.Store) *history.Space {
		sp, err := store.Space("", []history.Rule{{}})
		if err != nil {
			t.Fatal(err)
		}
		if err := sp.Share(); err != nil {
			t.Fatal(err)
		}
		return sp
	}
	here, there := shared(1), shared(2)
	o := channels.Options{History: space(here)}
	s := serve(t, o, channels.SocketOptions{}, relayed())
	follower, other, plain := s.dial(t), s.dial(t), s.dial(t)
	for p, topic := range map[*peer]string{follower: "room:1", other: "room:2"} {
		p.join(topic, `{"history":{}}`)
		p.await("history_mark")
	}
	plain.join("room:1", `{}`)

	m := history.Message{Event: "said", Payload: []byte(`{"n":0}`)}
	if err := space(there).Record("room:1", &m, func(bool) {}); err != nil {
		t.Fatal(err)
	}
	var parts [][]byte
	there.Snapshot(1000, func(part []byte) { parts = append(parts, part) })
	if err := here.Restore(2, slices.Values(parts)); err != nil {
		t.Fatal(err)
	}
	if m, err := follower.read(); err != nil || m.event != "history_state" || string(m.payload) != stateOf(0, "node_lost") {
		t.Errorf("a client that follows got %+v, %v", m, err)
	}
	s.say(t, "room:1", 1, 2)
	s.say(t, "room:2", 1, 2)
	plain.assertSaid("room:1", 1, 2)
	other.assertSaid("room:2", 1, 2)
}

func TestHistoryAndBus(t *testing.T) {
	if _, err := channels.NewEndpoint(recorded(t, channels.Options{Bus: &busyBus{}}, history.Rule{})); err == nil {
		t.Error("an endpoint has both")
	}
}
