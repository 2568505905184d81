package hooks

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/internal/certtest"
	"github.com/mycelium-rt/mycelium/internal/waittest"
	"github.com/mycelium-rt/mycelium/internal/websocket/wstest"
	"github.com/mycelium-rt/mycelium/units"
)

func TestConnect(t *testing.T) {
	b := serveBackend(t, func(r Request) any {
		switch r.Params["user"] {
		case "ann":
			return object{"allow": true, "socket_id": "users:ann", "assigns": object{"role": "admin", "level": 3, "user": 42}}
		case "eve":
			return object{"allow": false, "reply": object{"reason": "banned"}}
		}
		return no
	})
	h := b.hook(Connect, Join)
	h.Headers = []string{"x-team", "Cookie"}
	a := start(t, nil, h)

	c := a.connect(t, "?user=ann&vsn=2.0.0&token=secret", http.Header{"X-Team": {"red"}, "X-Other": {"no"}})
	asked := b.asked(Connect)[0]
	if want := (object{"user": "ann"}); !maps.Equal(asked.Params, want) {
		t.Errorf("params %v, want %v", asked.Params, want)
	}
	if want := map[string]string{"x-team": "red"}; !maps.Equal(asked.Headers, want) {
		t.Errorf("headers %v, want %v", asked.Headers, want)
	}
	if asked.Transport != "websocket" || asked.Instance != "default" {
		t.Errorf("%+v", asked)
	}
	if sockets := a.Sockets(0); len(sockets) != 1 || sockets[0].ID != "users:ann" {
		t.Errorf("sockets %+v", sockets)
	}
	if user := a.Sockets(0)[0].User; user != "42" {
		t.Errorf("user %q", user)
	}
	b.answers(func(Request) any { return yes })
	c.Join("room:1", nil)
	later := b.asked(Join)[0]
	if string(later.Assigns["role"]) != `"admin"` || string(later.Assigns["level"]) != "3" || later.SocketID != "users:ann" {
		t.Errorf("a join knows %+v", later)
	}
	if later.Params["user"] != "ann" || later.Headers["x-team"] != "red" {
		t.Errorf("a join knows %+v", later)
	}
}

// TestCertificate: a request has the names in the certificate of a client.
func TestCertificate(t *testing.T) {
	b := serveBackend(t, func(Request) any { return yes })
	authority := certtest.New(t)
	a := start(t, func(o *channels.Options, _ *channels.SocketOptions) {
		o.TLS = &tls.Config{Certificates: []tls.Certificate{authority.Server()}, ClientCAs: authority.Pool(), ClientAuth: tls.RequireAndVerifyClientCert}
	}, b.hook(Connect, Join))
	addr, err := a.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nc, err := tls.Dial("tcp", addr.String(), authority.Trusting(authority.Client("ada")))
	if err != nil {
		t.Fatal(err)
	}
	c, err := wstest.NewClient(nc, "/socket/websocket?vsn=2.0.0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Drop()
	if err := c.WriteText(`["1","1","room:1","phx_join",{}]`); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.ReadMessage(); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{Connect, Join} {
		if r := b.asked(kind)[0]; r.Certificate == nil || r.Certificate.CommonName != "ada" || len(r.Certificate.Fingerprint) != 64 {
			t.Errorf("%s: %+v", kind, r.Certificate)
		}
	}
}

// TestConnectRefused: clients learn why, and those that nobody has decided about come back later.
func TestConnectRefused(t *testing.T) {
	b := serveBackend(t, func(Request) any { return object{"allow": false, "reply": object{"reason": "banned"}} })
	a := start(t, nil, b.hook(Connect))
	refused := func(status int, body string) {
		t.Helper()
		_, err := channelstest.TryConnect(t, a.Endpoint, "/socket", nil)
		var refusal *channelstest.RefusedError
		if !errors.As(err, &refusal) || refusal.Status != status || strings.TrimSpace(refusal.Body) != body {
			t.Errorf("%v, want %d %s", err, status, body)
		}
	}
	refused(403, `{"reason":"banned"}`)
	b.answers(func(Request) any { return no })
	refused(403, "")
	b.answers(func(Request) any { return object{"allow": false, "reply": nil} })
	refused(403, "")
	b.does(func(_ Request, w http.ResponseWriter) { w.WriteHeader(500) })
	refused(503, `{"reason":"unavailable"}`)
	if n := len(b.asked(Connect)); n != 3+3 {
		t.Errorf("asked %d times: a connect may be asked about again", n)
	}
}

func TestJoin(t *testing.T) {
	b := serveBackend(t, answersOfRooms)
	h := b.hook(Join)
	h.Topics = []string{"room:*"}
	a := start(t, nil, h)
	c := a.connect(t, "", nil)
	lobby, reply := a.connect(t, "", nil).TryJoin("lobby", object{"a": 1})
	if string(reply.Response) != `{"from":"the channel"}` || len(b.asked(Join)) != 0 {
		t.Errorf("a topic without hooks: %+v, asked %v", reply, b.asked(Join))
	}
	lobby.Leave()
	<-a.joined
	inLobby := a.connect(t, "", nil)
	b.answers(func(Request) any { return yes })
	listener := inLobby.Join("room:lobby", nil)
	<-a.joined
	b.answers(answersOfRooms)

	if _, reply := c.TryJoin("room:open", object{"a": 1}); reply.Status != "ok" || string(reply.Response) != `{"from":"the channel"}` {
		t.Errorf("%+v", reply)
	}
	if params := <-a.joined; params != `{"a":1}` {
		t.Errorf("the channel got %s", params)
	}
	full, reply := c.TryJoin("room:full", object{"a": 1})
	if string(reply.Response) != `{"history":[1,2]}` {
		t.Errorf("%+v", reply)
	}
	if params := <-a.joined; params != `{"user":"from the back end"}` {
		t.Errorf("the channel got %s", params)
	}
	full.AssertPush("welcome", object{"n": 1})
	listener.AssertBroadcast("arrived", nil)
	if got := b.asked(Join); string(got[len(got)-1].Payload) != `{"a":1}` {
		t.Errorf("asked with %s", got[len(got)-1].Payload)
	}
	for topic, want := range map[string]string{"room:members": `{"reason":"members only","more":1}`, "room:else": `{"reason":"unauthorized"}`} {
		if _, reply := c.TryJoin(topic, nil); reply.Status != "error" || !sameJSON(string(reply.Response), want) {
			t.Errorf("%s: %+v", topic, reply)
		}
	}
	if len(a.joined) != 0 {
		t.Error("the channel saw a refused join")
	}
}

func answersOfRooms(r Request) any {
	switch r.Topic {
	case "room:open":
		return yes
	case "room:full":
		return object{
			"allow": true, "reply": object{"history": []int{1, 2}}, "payload": object{"user": "from the back end"}, "assigns": object{"seat": 4},
			"push": []object{{"event": "welcome", "payload": object{"n": 1}}}, "broadcast": []object{{"event": "arrived", "topic": "room:lobby"}},
			"track": object{"key": "ann", "meta": object{"seat": 4}},
		}
	case "room:members":
		return object{"allow": false, "reply": object{"reason": "members only", "more": 1}}
	}
	return no
}

func sameJSON(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	return fmt.Sprint(x) == fmt.Sprint(y)
}

func TestEvent(t *testing.T) {
	b := serveBackend(t, func(r Request) any {
		switch r.Event {
		case "moderated":
			return object{"allow": true, "payload": object{"text": "***"}}
		case "answered":
			return object{
				"allow": true, "reply": object{"id": 7}, "assigns": object{"count": 1},
				"broadcast": []object{{"event": "stored", "payload": object{"id": 7}}, {"event": "only others", "others": true}},
				"push":      []object{{"event": "for you"}},
			}
		case "forbidden":
			return object{"allow": false, "reply": object{"reason": "muted"}}
		}
		return yes
	})
	h := b.hook(Event)
	h.Topics, h.Events = []string{"room:*"}, []string{"moderated", "answered", "forbidden", "count*", "bytes"}
	a := start(t, nil, h)
	ann, bob := a.connect(t, "", nil).Join("room:1", nil), a.connect(t, "", nil).Join("room:1", nil)

	ann.Push("moderated", object{"text": "damn"}).AssertReply("ok", nil)
	bob.AssertBroadcast("moderated", object{"text": "***"})
	ann.Push("answered", object{"text": "hi"}).AssertReply("ok", object{"id": 7})
	bob.AssertBroadcast("stored", object{"id": 7})
	ann.AssertBroadcast("stored", object{"id": 7})
	ann.AssertPush("for you", nil)
	bob.AssertBroadcast("only others", nil)
	ann.RefutePush("only others", nil)
	bob.RefutePush("answered", nil)
	ann.Push("forbidden", nil).AssertReply("error", object{"reason": "muted"})
	ann.Push("count", nil).AssertReply("ok", nil)
	asked := b.asked(Event)
	if last := asked[len(asked)-1]; string(last.Assigns["count"]) != "1" || last.Topic != "room:1" || last.Event != "count" {
		t.Errorf("asked with %+v", last)
	}
	ann.Push("cursor", nil).AssertReply("ok", nil)
	ann.Push("access_token", object{"access_token": "x"}).AssertReply("ok", nil)
	if n := len(b.asked(Event)); n != 4 {
		t.Errorf("asked %d times", n)
	}
	ann.Push("bytes", channels.Binary("\x00\xff")).AssertReply("ok", nil)
	if last := b.asked(Event)[4]; string(last.Binary) != "\x00\xff" || last.Payload != nil {
		t.Errorf("asked with %+v", last)
	}
}

// TestTrack: the back end says who is present.
func TestTrack(t *testing.T) {
	b := serveBackend(t, func(r Request) any {
		return object{"allow": true, "track": object{"key": "ann", "meta": object{"status": r.Event}}}
	})
	a := start(t, nil, b.hook(Join, Event))
	watcher := a.connect(t, "", nil)
	b.answers(func(Request) any { return yes })
	w := watcher.Join("room:1", nil)
	b.answers(func(r Request) any {
		return object{"allow": true, "track": object{"key": "ann", "meta": object{"status": r.Event}}}
	})
	ann := a.connect(t, "", nil).Join("room:1", nil)
	if got := w.AssertBroadcast("presence_diff", nil); !strings.Contains(string(got), `"status":""`) {
		t.Errorf("told of %s", got)
	}
	ann.Push("away", nil).AssertReply("ok", nil)
	if got := w.AssertBroadcast("presence_diff", nil); !strings.Contains(string(got), `"status":"away"`) {
		t.Errorf("told of %s", got)
	}
}

// TestOrder: events of one channel are decided and handled in order, however long each takes; those of other topics
// and clients do not wait.
func TestOrder(t *testing.T) {
	const n = 20
	release := make(chan struct{})
	b := serveBackend(t, func(r Request) any {
		if r.Event == "0" {
			<-release
		}
		return object{"allow": true, "reply": object{}, "broadcast": []object{{"event": "said", "payload": object{"n": r.Event}}}}
	})
	h := b.hook(Event)
	h.Topics = []string{"slow"}
	a := start(t, nil, h)
	client := a.connect(t, "", nil)
	slow, fast := client.Join("slow", nil), client.Join("fast", nil)
	other := a.connect(t, "", nil).Join("fast", nil)
	for i := range n {
		slow.Push(fmt.Sprint(i), nil)
	}
	waittest.For(t, "the first to be asked", func() bool { return len(b.asked(Event)) == 1 })
	fast.Push("quick", nil).AssertReply("ok", nil)
	other.Push("quick", nil).AssertReply("ok", nil)
	if got := len(b.asked(Event)); got != 1 {
		t.Errorf("%d events of one channel were asked about at once", got)
	}
	close(release)
	for i := range n {
		slow.AssertBroadcast("said", object{"n": fmt.Sprint(i)})
	}
	for i, r := range b.asked(Event) {
		if r.Event != fmt.Sprint(i) {
			t.Errorf("event %s was asked about as number %d", r.Event, i)
		}
	}
}

// TestClientGone: an event whose client disconnects meanwhile is still broadcast, because the back end may have stored
// it; a join is given up.
func TestClientGone(t *testing.T) {
	release := make(chan struct{})
	entered := make(chan string, 10)
	b := serveBackend(t, func(r Request) any {
		if r.Type == Event || r.Topic == "room:2" {
			entered <- r.Type
			<-release
		}
		return yes
	})
	a := start(t, nil, b.hook(Join, Event))
	other := a.connect(t, "", nil).Join("room:1", nil)
	<-a.joined
	leaving := a.connect(t, "", nil)
	room := leaving.Join("room:1", nil)
	<-a.joined
	room.Push("said", object{"text": "bye"})
	<-entered
	leaving.StartJoin("room:2", nil)
	<-entered
	leaving.Close()
	waittest.For(t, "the socket to end", func() bool { return a.Stats().Sockets == 1 })
	close(release)
	other.AssertBroadcast("said", object{"text": "bye"})
	waittest.For(t, "the callbacks to end", func() bool { return a.Stats().Callbacks == 0 })
	if s := a.decider.Stats()[0]; s.Open || s.Kinds[0].Unanswered != 0 {
		t.Errorf("a client that went counts against the back end: %+v", s)
	}
	if len(a.joined) != 0 {
		t.Error("a join was handled whose client had gone")
	}
}

// TestEventsOfClientGone: events that waited behind one that was being decided when their client disconnected are decided
// and broadcast, in order, unless the client had left the topic before. Nobody waits for a back end for ever.
func TestEventsOfClientGone(t *testing.T) {
	for name, c := range map[string]struct {
		wait         time.Duration
		heard, asked int
	}{"in time": {time.Minute, 5, 6}, "too late": {time.Nanosecond, 1, 2}} {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			entered := make(chan string, 10)
			b := serveBackend(t, func(r Request) any {
				entered <- r.Event
				<-release
				return yes
			})
			a := start(t, func(o *channels.Options, _ *channels.SocketOptions) { o.Limits.MailboxWait = c.wait }, b.hook(Event))
			other := a.connect(t, "", nil).Join("room:1", nil)
			leaving := a.connect(t, "", nil)
			room, left := leaving.Join("room:1", nil), leaving.Join("room:2", nil)
			left.Push("first", nil)
			left.Push("phx_leave", nil)
			for i := range 5 {
				room.Push("said", object{"n": i})
			}
			<-entered
			<-entered
			leaving.Close()
			waittest.For(t, "the socket to end", func() bool { return a.Stats().Sockets == 1 })
			close(release)
			for i := range c.heard {
				other.AssertBroadcast("said", object{"n": i})
			}
			waittest.For(t, "the callbacks to end", func() bool { return a.Stats().Callbacks == 0 })
			other.RefutePush("said", nil)
			if got := len(b.asked(Event)); got != c.asked {
				t.Errorf("asked about %d events, want %d", got, c.asked)
			}
			if got, want := int(a.Stats().MailboxFull), 6-c.asked; got != want {
				t.Errorf("%d events counted as dropped, want %d", got, want)
			}
		})
	}
}

// TestLeaving: an event that the client pushed before it left is handled before it leaves.
func TestLeaving(t *testing.T) {
	release := make(chan struct{})
	b := serveBackend(t, func(Request) any { <-release; return yes })
	a := start(t, nil, b.hook(Event))
	other := a.connect(t, "", nil).Join("room:1", nil)
	room := a.connect(t, "", nil).Join("room:1", nil)
	said := room.Push("said", nil)
	waittest.For(t, "the event to be asked about", func() bool { return len(b.asked(Event)) == 1 })
	close(release)
	room.Leave()
	said.AssertReply("ok", nil)
	other.AssertBroadcast("said", nil)
}

// TestAwayAnswers: what happens while the back end gives no answers, by configuration.
func TestAwayAnswers(t *testing.T) {
	for _, away := range []string{Refuse, Allow} {
		t.Run(away, func(t *testing.T) {
			b := serveBackend(t, nil)
			b.does(func(_ Request, w http.ResponseWriter) { w.WriteHeader(500) })
			h := b.hook(Join, Event)
			h.WhileAway, h.Topics = away, []string{"room:*", "other"}
			a := start(t, nil, h)
			c := a.connect(t, "", nil)
			for i := range 10 {
				ch, reply := c.TryJoin(fmt.Sprint("room:", i), nil)
				if away == Allow {
					ch.Push("said", nil).AssertReply("ok", nil)
				} else if reply.Status != "error" || string(reply.Response) != `{"reason":"unavailable"}` {
					t.Errorf("%+v", reply)
				}
			}
			s := a.decider.Stats()[0]
			if !s.Open || s.Away == 0 || s.Kinds[0].Unanswered != 10 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestBusy: when too many wait, further ones are told so at once.
func TestBusy(t *testing.T) {
	b := serveBackend(t, nil)
	b.does(hang(t))
	h := b.hook(Join)
	h.Concurrency, h.Timeout = 1, units.Duration(20*time.Second)
	a := start(t, nil, h)
	c := a.connect(t, "", nil)
	for i := range 1 + 8 {
		c.StartJoin(fmt.Sprint("room:", i), nil)
	}
	waittest.For(t, "all to wait", func() bool { s := a.decider.Stats()[0]; return s.InFlight == 1 && s.Waiting == 8 })
	if _, reply := c.TryJoin("room:last", nil); string(reply.Response) != `{"reason":"too many requests wait for a decision"}` {
		t.Errorf("%+v", reply)
	}
	c.Close()
	waittest.For(t, "the joins to be given up", func() bool { return a.Stats().Callbacks == 0 })
}

func TestFirstHookDecides(t *testing.T) {
	b := serveBackend(t, func(Request) any { return yes })
	other := serveBackend(t, func(Request) any { return no })
	first, second := b.hook(Join), other.hook(Join, Event)
	first.Topics = []string{"room:*"}
	a := start(t, nil, first, second)
	c := a.connect(t, "", nil)
	room := c.Join("room:1", nil)
	if _, reply := c.TryJoin("lobby", nil); reply.Status != "error" {
		t.Errorf("%+v", reply)
	}
	room.Push("said", nil).AssertReply("error", object{"reason": "unauthorized"})
	if len(b.asked(Join)) != 1 || len(other.asked(Join)) != 1 || len(other.asked(Event)) != 1 {
		t.Errorf("asked %v and %v", b.requests, other.requests)
	}
}

// TestRefresh: a connection goes on as long as the back end prolongs it. While the back end is away, it goes on until it expires.
func TestRefresh(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	times := 0
	b := serveBackend(t, func(r Request) any {
		if r.Type == Connect {
			return object{"allow": true, "expires_in": 4, "assigns": object{"user": "ann"}}
		}
		mu.Lock()
		defer mu.Unlock()
		if times++; times <= 2 {
			return object{"allow": true, "expires_in": 3}
		}
		return no
	})
	a := start(t, nil, b.hook(Connect, Refresh))
	c := a.connect(t, "", nil)
	c.AssertClosed(closeExpired)
	asked := b.asked(Refresh)
	if len(asked) != 3 || string(asked[0].Assigns["user"]) != `"ann"` {
		t.Errorf("asked %v", asked)
	}

	b.answers(func(Request) any { return object{"allow": true, "expires_in": 0.2} })
	alone := start(t, nil, b.hook(Connect))
	alone.connect(t, "", nil).AssertClosed(closeExpired) // nobody prolongs it
	if n := len(b.asked(Refresh)); n != 3 {
		t.Errorf("asked %d times", n)
	}

	b.does(func(r Request, w http.ResponseWriter) {
		if r.Type == Refresh {
			w.WriteHeader(500)
			return
		}
		json.NewEncoder(w).Encode(object{"allow": true, "expires_in": 1})
	})
	for _, away := range []string{Refuse, Allow} {
		h := b.hook(Connect, Refresh)
		h.WhileAway = away
		begun := time.Now()
		start(t, nil, h).connect(t, "", nil).AssertClosed(closeExpired)
		if took := time.Since(begun); took < time.Second {
			t.Errorf("%s: closed after %v", away, took)
		}
	}
}

func TestAccess(t *testing.T) {
	b := serveBackend(t, func(r Request) any {
		switch r.Topic {
		case "room:read":
			return object{"allow": true, "write": false}
		case "room:all":
			return yes
		}
		return no
	})
	h := b.hook(Access)
	h.Topics = []string{"room:*"}
	a := start(t, nil, h)
	for topic, want := range map[string][3]bool{"room:read": {true, false, true}, "room:all": {true, true, true}, "room:no": {false, false, true}, "lobby": {false, false, false}} {
		read, write, asked, err := a.decider.AskAccess(t.Context(), topic, object{"sub": "ann"})
		if got := [3]bool{read, write, asked}; got != want || err != nil {
			t.Errorf("%s: %v, %v", topic, got, err)
		}
	}
	if got := b.asked(Access); len(got) != 3 || string(got[0].Claims) != `{"sub":"ann"}` {
		t.Errorf("asked %+v", got)
	}
}
