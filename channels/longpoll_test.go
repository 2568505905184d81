package channels_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/mycelium-rt/mycelium/channels"
)

func rooms() []*channels.Channel { return []*channels.Channel{room(), quiet()} }

// quiet does what room does, without a callback that blocks.
func quiet() *channels.Channel {
	ch := channels.Handle("quiet:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	})
	channels.On(ch, "echo", func(_ *channels.Context, p channels.Payload) (channels.Payload, error) { return p, nil })
	return ch.OnLoop()
}

// A session from the first request to the last.
func TestLongPoll(t *testing.T) {
	eachPolling(t, channels.SocketOptions{}, func(t *testing.T, s *server, c *lpClient) {
		c.open()
		c.post(`["1","1","room:1","phx_join",{}]`, `["1","2","room:1","echo",{"a":["ä\u0000\"",1]}]`)
		c.assertNext("1", "1", "room:1", "phx_reply", `ok {"subtopic":"1"}`)
		c.assertNext("1", "2", "room:1", "phx_reply", `ok {"a":["ä\u0000\"",1]}`)

		// One message without a batch, as clients before 1.7.3 send it.
		if a := c.must("POST", `[null,"3","phoenix","heartbeat",{}]`, nil); a.raw != `{"status":200}` {
			t.Fatalf("POST: %s", a.raw)
		}
		c.assertNext("", "3", "phoenix", "phx_reply", `ok {}`)

		ws := s.dial(t)
		ws.join("room:1", "{}")
		answer := c.waiting(context.Background())
		if err := s.Broadcast("room:1", "news", map[string]int{"n": 1}); err != nil {
			t.Fatal(err)
		}
		if a := <-answer; a.Status != 200 || len(*a.Messages) != 1 || (*a.Messages)[0] != `[null,null,"room:1","news",{"n":1}]` {
			t.Errorf("a poll that waited: %s", a.raw)
		}
		c.post(`["1","4","room:1","shout",{"body":"hi"}]`, `["1","5","room:1","phx_leave",{}]`)
		c.assertNext("", "", "room:1", "shout", `{"body":"hi"}`)
		c.assertNext("1", "5", "room:1", "phx_reply", `ok {}`)
		c.assertNext("1", "1", "room:1", "phx_close", `{}`)
		ws.await("shout")
		if n := s.Stats().LongPoll.Sessions; n != 1 {
			t.Errorf("%d sessions", n)
		}
	}, rooms)
}

// The token in the query counts as long as none is in a header.
func TestLongPollTokenInQuery(t *testing.T) {
	s := serve(t, channels.Options{}, channels.SocketOptions{LongPoll: longPolling}, rooms()...)
	c := s.polls(t)
	c.target, c.token = "/socket/longpoll?token="+c.token, ""
	c.post(`[null,"1","phoenix","heartbeat",{}]`)
	c.assertNext("", "1", "phoenix", "phx_reply", `ok {}`)
	c.token = "nope"
	if a := c.must("POST", `[null,"2","phoenix","heartbeat",{}]`, nil); a.raw != `{"status":410}` {
		t.Errorf("a bad token in the header: %s", a.raw)
	}
}

func TestLongPollVersion1(t *testing.T) {
	s := serve(t, channels.Options{}, channels.SocketOptions{LongPoll: longPolling}, rooms()...)
	c := s.poller(t)
	c.target = "/socket/longpoll"
	c.open()
	c.post(`{"topic":"room:1","event":"phx_join","payload":{},"ref":"1","join_ref":"1"}`,
		`{"topic":"room:1","event":"echo","payload":{"v":1},"ref":"2","join_ref":"1"}`)
	c.assertNext("", "1", "room:1", "phx_reply", `ok {"subtopic":"1"}`)
	c.assertNext("", "2", "room:1", "phx_reply", `ok {"v":1}`)
}

func TestLongPollOff(t *testing.T) {
	s := serve(t, channels.Options{}, channels.SocketOptions{}, room())
	c := s.poller(t)
	c.do = func(r *http.Request) (*http.Response, error) {
		r.URL.Path = "/socket/longpoll"
		return http.DefaultClient.Do(r)
	}
	defer http.DefaultClient.CloseIdleConnections()
	if a, _ := c.request(context.Background(), "GET", "", nil); a.http != 404 {
		t.Errorf("not enabled: %d %s", a.http, a.raw)
	}
}

// Connect is given the same, and refuses the same clients, as for a WebSocket.
// Only the form of the answer differs.
func TestLongPollConnect(t *testing.T) {
	seen := make(chan *channels.Request, 1)
	so := channels.SocketOptions{AuthToken: true, CheckOrigin: channels.Origins("//good.test")}
	so.Connect = func(_ context.Context, s *channels.Socket, r *channels.Request) error {
		switch r.Params.Get("token") {
		case "bad":
			return errors.New("refused")
		case "custom":
			return &channels.RefusedError{Status: 429, Body: "come back"}
		case "panic":
			panic("connect crashed")
		}
		if s.Transport() != "longpoll" {
			return errors.New("wrong transport")
		}
		seen <- r
		return nil
	}
	eachPolling(t, so, func(t *testing.T, s *server, c *lpClient) {
		c.target = "//socket/longpoll/?vsn=2.0.0&user[name]=ada"
		header := http.Header{"X-Phoenix-Authtoken": {"s3cret"}, "User-Agent": {"tester"}, "Origin": {"https://good.test"}}
		a := c.must("GET", "", header)
		r := <-seen
		token, ok := r.AuthToken()
		if a.Status != 410 || a.Token == nil || !ok || token != "s3cret" || fmt.Sprint(r.Params["user"]) != "map[name:ada]" ||
			r.Transport != "longpoll" || r.URL.Path != "/socket/longpoll" || !r.RemoteAddr.Addr().IsLoopback() ||
			r.URL.Scheme+"://"+r.URL.Host != c.base || r.Header.Get("User-Agent") != "tester" {
			t.Errorf("%s: connect saw %+v, %q", a.raw, r, token)
		}
		for query, want := range map[string]string{
			"vsn=9.0.0": "200 {\"status\":403}", "vsn=garbage": "200 {\"status\":403}", "vsn=2.0.0&token=bad": "200 {\"status\":403}",
			"token=custom": "200 {\"status\":403}", "token=panic": "500 {\"status\":500}", "%ff=1": "400 ",
		} {
			c.target = "/socket/longpoll?" + query
			if a, _ := c.request(context.Background(), "GET", "", nil); fmt.Sprint(a.http, " ", a.raw) != want {
				t.Errorf("%s: %d %q, want %q", query, a.http, a.raw, want)
			}
		}
	}, rooms)
}

// Browsers send a preflight request first, and the origin is checked for every
// method.
func TestLongPollOrigins(t *testing.T) {
	so := channels.SocketOptions{LongPoll: longPolling, CheckOrigin: channels.Origins("//good.test")}
	s := serve(t, channels.Options{}, so, rooms()...)
	c := s.polls(t)
	for _, method := range []string{"GET", "POST", "OPTIONS", "PUT"} {
		a := c.must(method, "", http.Header{"Origin": {"http://evil.test"}})
		if a.http != 200 || a.raw != `{"status":403}` || a.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s of a bad origin: %d %s %v", method, a.http, a.raw, a.header)
		}
	}
	good := http.Header{"Origin": {"http://good.test"}, "Access-Control-Request-Headers": {"content-type,x-phoenix-authtoken"}}
	a := c.must("OPTIONS", "", good)
	if a.http != 200 || a.raw != "" || a.header.Get("Access-Control-Allow-Headers") != "content-type,x-phoenix-authtoken" ||
		a.header.Get("Access-Control-Allow-Methods") != "get, post, options" || a.header.Get("Access-Control-Max-Age") != "3600" {
		t.Errorf("preflight: %d %s %v", a.http, a.raw, a.header)
	}
	c.post(`[null,"1","phoenix","heartbeat",{}]`)
	a = c.must("GET", "", good)
	if a.Status != 200 || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Access-Control-Allow-Origin") != "*" ||
		a.header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("poll: %s %v", a.raw, a.header)
	}
	for _, method := range []string{"PUT", "DELETE", "HEAD", "PATCH"} {
		if a := c.must(method, "", nil); a.http != 405 || a.header.Get("Allow") != "GET, POST, OPTIONS" {
			t.Errorf("%s: %d %v", method, a.http, a.header)
		}
	}
}

// A token is valid for its own session, endpoint and path only. Without a valid
// one, a GET opens a session, and a POST is answered with 410.
func TestLongPollForeignTokens(t *testing.T) {
	so := channels.SocketOptions{LongPoll: longPolling}
	s, other := serve(t, channels.Options{}, so, rooms()...), serve(t, channels.Options{}, so, rooms()...)
	s.Socket("/second", so, rooms()...)
	mine := s.polls(t)
	elsewhere := other.polls(t)
	second := s.poller(t)
	second.target = "/second/longpoll?vsn=2.0.0"
	second.open()
	last := mine.token[len(mine.token)-1:]
	if last == "A" {
		last = "E"
	} else {
		last = "A"
	}
	for name, token := range map[string]string{
		"none": "", "nonsense": "nope", "of another endpoint": elsewhere.token, "of another path": second.token,
		"with another end": mine.token[:len(mine.token)-1] + last, "cut": mine.token[:40],
	} {
		c := s.poller(t)
		c.token = token
		if a := c.must("POST", `[null,"1","phoenix","heartbeat",{}]`, nil); a.http != 200 || a.raw != `{"status":410}` {
			t.Errorf("POST with a token %s: %d %s", name, a.http, a.raw)
		}
		before := s.Stats().LongPoll.Sessions
		if a := c.must("GET", "", nil); a.Status != 410 || a.Token == nil || *a.Token == token || s.Stats().LongPoll.Sessions != before+1 {
			t.Errorf("GET with a token %s: %s", name, a.raw)
		}
	}
	mine.post(`[null,"1","phoenix","heartbeat",{}]`)
	mine.assertNext("", "1", "phoenix", "phx_reply", "ok {}")
}

// Clients send bytes as base64. They cannot be sent any.
func TestLongPollBinary(t *testing.T) {
	s := serve(t, channels.Options{}, channels.SocketOptions{LongPoll: longPolling}, append(rooms(), binaryJoin())...)
	c := s.polls(t)
	c.join("room:1")
	push := base64.StdEncoding.EncodeToString(bytesPush("1", "2", "room:1", "bytes", []byte{0, 255}))
	c.post(push, `["1","3","room:1","echo",{}]`)
	c.assertNext("1", "2", "room:1", "phx_reply", `error {"reason":"binary reply not possible: long polling carries text only"}`)
	c.assertNext("1", "3", "room:1", "phx_reply", `ok {}`)

	if err := s.Broadcast("room:1", "bytes", channels.Binary{1}); err != nil {
		t.Fatal(err)
	}
	if err := s.Broadcast("room:1", "text", map[string]int{}); err != nil {
		t.Fatal(err)
	}
	c.assertNext("", "", "room:1", "text", "{}")
	if n := s.Stats().LongPoll.Binary; n != 1 {
		t.Errorf("%d frames of bytes left out, want 1", n)
	}
	// A join whose response is bytes fails, and that alone.
	c.post(`["7","7","bytes:1","phx_join",{}]`, `["1","4","room:1","echo",{}]`)
	replies := map[string]string{}
	for range 2 {
		m := c.next()
		replies[m.topic] = m.status + " " + string(m.response)
	}
	if replies["bytes:1"] != `error {"reason":"join crashed"}` || replies["room:1"] != "ok {}" {
		t.Errorf("replies: %v", replies)
	}
}

func binaryJoin() *channels.Channel {
	return channels.Handle("bytes:*", func(*channels.Context, channels.Payload) (channels.Binary, error) {
		return channels.Binary{1, 2, 3}, nil
	})
}

// A POST is handled whole or, if a message of it is malformed, not at all; the
// session goes on.
func TestLongPollMalformed(t *testing.T) {
	o := channels.Options{Limits: channels.Limits{MaxMessage: 5000}}
	s := serve(t, o, channels.SocketOptions{LongPoll: longPolling, MaxMessage: 500}, rooms()...)
	c := s.polls(t)
	c.join("quiet:1")
	const echo = `["1","2","quiet:1","echo",{}]`
	large := `["1","2","quiet:1","echo",{"x":"` + strings.Repeat("x", 500) + `"}]`
	for name, post := range map[string]struct {
		body   string
		header http.Header
		want   int
	}{
		"no JSON":          {"{nope", nil, 400},
		"empty":            {"", nil, 400},
		"no envelope":      {"[1,2]", nil, 400},
		"two in one":       {echo + "\n" + echo, nil, 400},
		"second malformed": {echo + "\n[nope", ndjson, 400},
		"no base64":        {echo + "\n*** no base64 ***", ndjson, 400},
		"broken bytes":     {echo + "\nAAEB", ndjson, 400},
		"large message":    {large, nil, 413},
		"large line":       {echo + "\n" + large, ndjson, 413},
		"large body":       {strings.Repeat(echo+"\n", 200), ndjson, 413},
	} {
		a := c.must("POST", post.body, post.header)
		if a.http != post.want || a.Status != post.want {
			t.Errorf("%s: %d %s, want %d", name, a.http, a.raw, post.want)
		}
	}
	c.post("", `["1","9","quiet:1","echo",{}]`, "", "\r")
	c.assertNext("1", "9", "quiet:1", "phx_reply", "ok {}")
	if n := s.Stats().MessagesIn; n != 2 {
		t.Errorf("%d messages handled, want the join and one echo", n)
	}
}

// The body of a POST has Phoenix's limit, below that of a message; the session
// goes on.
func TestLongPollLargeBody(t *testing.T) {
	s := serve(t, channels.Options{}, channels.SocketOptions{LongPoll: longPolling}, rooms()...)
	c := s.polls(t)
	c.join("quiet:1")
	push := func(size int) string {
		const head, tail = `["1","2","quiet:1","echo",{"x":"`, `"}]`
		return head + strings.Repeat("x", size-len(head)-len(tail)) + tail
	}
	for size, want := range map[int]int{8_000_000: 200, 8_000_001: 413, 8_100_000: 413} {
		if a := c.must("POST", push(size), nil); a.http != want || a.Status != want {
			t.Errorf("%d bytes: %d %s, want %d", size, a.http, a.raw, want)
		}
	}
	c.post(`["1","9","quiet:1","echo",{}]`)
	if n := s.Stats().MessagesIn; n != 3 {
		t.Errorf("%d messages handled, want the join, the one of 8,000,000 bytes and the last", n)
	}
}

// More messages than phoenix.js ever sends in one POST are handled in order.
func TestLongPollLargeBatch(t *testing.T) {
	s := serve(t, channels.Options{}, channels.SocketOptions{LongPoll: longPolling}, rooms()...)
	c := s.polls(t)
	c.join("quiet:1")
	var batch []string
	for i := range 1234 {
		batch = append(batch, fmt.Sprintf(`["1","%d","quiet:1","echo",{}]`, i))
	}
	c.post(batch...)
	for i := range batch {
		c.assertNext("1", fmt.Sprint(i), "quiet:1", "phx_reply", "ok {}")
	}
}

// A session counts as a connection for the limits of connections.
func TestLongPollLimits(t *testing.T) {
	o := channels.Options{Limits: channels.Limits{MaxConnectionsPerAddress: 3, HandshakesPerSecond: 4}}
	s := serve(t, o, channels.SocketOptions{LongPoll: longPolling}, rooms()...)
	get := func() lpAnswer { return direct(t, s.Endpoint).must("GET", "", nil) }
	for range 3 {
		if a := get(); a.Status != 410 {
			t.Fatalf("refused: %d %s", a.http, a.raw)
		}
	}
	for _, reason := range []string{"connections", "rate"} {
		if a := get(); a.http != 503 || a.raw != "" || a.header.Get("Retry-After") == "" {
			t.Errorf("above the limit of %s: %d %s %v", reason, a.http, a.raw, a.header)
		}
	}
	if n := s.Stats().LongPoll.Sessions; n != 3 {
		t.Errorf("%d sessions", n)
	}
}
