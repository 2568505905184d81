package channels_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
)

// longPolling is what the tests enable: a window and a grace that no test waits for.
var longPolling = channels.LongPollOptions{Enabled: true, Window: time.Hour, Grace: time.Hour}

// lpAnswer is an answer to a request of long polling.
type lpAnswer struct {
	http     int // HTTP's own status
	header   http.Header
	raw      string
	Status   int
	Token    *string
	Messages *[]string
}

// lpClient does what assets/js/phoenix/longpoll.js does, one request after the
// other, over whatever do is.
type lpClient struct {
	t      testing.TB
	do     func(*http.Request) (*http.Response, error)
	base   string             // "http://127.0.0.1:4000"
	target string             // "/socket/longpoll?vsn=2.0.0"
	home   *channels.Endpoint // where its session is
	token  string
	inbox  []envelope
	refs   int
}

// polls opens a session of version 2 over the network.
func (s *server) polls(t testing.TB) *lpClient {
	t.Helper()
	c := s.poller(t)
	c.open()
	return c
}

// poller is polls without a session.
func (s *server) poller(t testing.TB) *lpClient {
	client := &http.Client{Transport: &http.Transport{}, Timeout: patience}
	t.Cleanup(client.CloseIdleConnections)
	return &lpClient{t: t, do: client.Do, base: "http://" + s.addr, target: "/socket/longpoll?vsn=2.0.0", home: s.Endpoint}
}

// direct is poller without a network: the answers are written to a recorder.
func direct(t testing.TB, h http.Handler) *lpClient {
	home, _ := h.(*channels.Endpoint)
	return &lpClient{t: t, home: home, base: "http://example.com", target: "/socket/longpoll?vsn=2.0.0", do: func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result(), nil
	}}
}

// request is what may be called from any goroutine.
func (c *lpClient) request(ctx context.Context, method, body string, header http.Header) (a lpAnswer, err error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+c.target, strings.NewReader(body))
	if err != nil {
		return a, err
	}
	r.RemoteAddr = "192.0.2.1:1234" // for direct; a client's own is not sent
	if c.token != "" {
		r.Header.Set("X-Phoenix-Longpoll-Token", c.token)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	response, err := c.do(r)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return a, err
	}
	a.http, a.header, a.raw = response.StatusCode, response.Header, string(data)
	if len(data) > 0 {
		err = json.Unmarshal(data, &a)
	}
	return a, err
}

func (c *lpClient) must(method, body string, header http.Header) lpAnswer {
	c.t.Helper()
	a, err := c.request(context.Background(), method, body, header)
	if err != nil {
		c.t.Fatalf("%s: %v %s", method, err, a.raw)
	}
	return a
}

// open opens a session, and fails the test if it is refused.
func (c *lpClient) open() {
	c.t.Helper()
	a := c.must("GET", "", nil)
	if a.http != 200 || a.Status != 410 || a.Token == nil || *a.Token == "" || a.Messages == nil || len(*a.Messages) != 0 {
		c.t.Fatalf("no session: %d %s", a.http, a.raw)
	}
	c.token = *a.Token
}

var ndjson = http.Header{"Content-Type": {"application/x-ndjson"}}

// post sends messages as phoenix.js does, and fails the test unless they are
// accepted.
func (c *lpClient) post(messages ...string) {
	c.t.Helper()
	if a := c.must("POST", strings.Join(messages, "\n"), ndjson); a.http != 200 || a.raw != `{"status":200}` {
		c.t.Fatalf("POST: %d %s", a.http, a.raw)
	}
}

// envelopes decodes the messages of a poll.
func (a lpAnswer) envelopes() (list []envelope, err error) {
	if a.Messages == nil {
		return nil, fmt.Errorf("no messages in %d %s", a.http, a.raw)
	}
	for _, text := range *a.Messages {
		m, err := decodeText([]byte(text))
		if err != nil {
			return list, err
		}
		list = append(list, m)
	}
	return list, nil
}

// next returns the next message, polling for it.
func (c *lpClient) next() envelope {
	c.t.Helper()
	for len(c.inbox) == 0 {
		a := c.must("GET", "", nil)
		if a.http != 200 || a.Status != 200 && a.Status != 204 || a.Token == nil {
			c.t.Fatalf("poll: %d %s", a.http, a.raw)
		}
		list, err := a.envelopes()
		if err != nil || (len(list) == 0) != (a.Status == 204) {
			c.t.Fatalf("poll: %v %s", err, a.raw)
		}
		c.token, c.inbox = *a.Token, list
	}
	m := c.inbox[0]
	c.inbox = c.inbox[1:]
	return m
}

func (c *lpClient) assertNext(joinRef, ref, topic, event, payload string) {
	c.t.Helper()
	m := c.next()
	got := m.payload
	if event == "phx_reply" {
		got = fmt.Appendf(nil, "%s %s", m.status, m.response)
	}
	if m.joinRef != joinRef || m.ref != ref || m.topic != topic || m.event != event || string(got) != payload {
		c.t.Fatalf("received %v, want [%q %q %q %q %s]", m, joinRef, ref, topic, event, payload)
	}
}

// join joins with join_ref and ref 1.
func (c *lpClient) join(topic string) {
	c.t.Helper()
	c.post(fmt.Sprintf(`["1","1",%q,"phx_join",{}]`, topic))
	if m := c.next(); m.ref != "1" || m.status != "ok" {
		c.t.Fatalf("join: %v", m)
	}
}

// waiting polls on a goroutine and returns when the poll waits, or has its answer.
func (c *lpClient) waiting(ctx context.Context) <-chan lpAnswer {
	c.t.Helper()
	before := c.home.WaitingPolls(context.Background())
	answers := make(chan lpAnswer, 1)
	go func() {
		a, err := c.request(ctx, "GET", "", nil)
		if err != nil {
			a.raw = err.Error()
		}
		answers <- a
	}()
	waitFor(c.t, "the poll to wait", func() bool {
		return len(answers) > 0 || c.home.WaitingPolls(context.Background()) > before
	})
	return answers
}

// eachPolling runs a test over the network: through the endpoint's own port by
// both kinds of loops, and mounted in another server, of HTTP/2 too.
func eachPolling(t *testing.T, so channels.SocketOptions, test func(t *testing.T, s *server, c *lpClient), chs func() []*channels.Channel) {
	if !so.LongPoll.Enabled {
		so.LongPoll = longPolling
	}
	both(t, func(t *testing.T, o channels.Options) {
		s := serve(t, o, so, chs()...)
		test(t, s, s.poller(t))
	})
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "mounted", true: "mounted HTTP2"}[secure], func(t *testing.T) {
			s := serve(t, channels.Options{Loops: 2}, so, chs()...)
			host := httptest.NewUnstartedServer(s.Endpoint)
			host.EnableHTTP2 = secure
			if secure {
				host.StartTLS()
			} else {
				host.Start()
			}
			t.Cleanup(host.Close)
			c := direct(t, s.Endpoint)
			c.do, c.base = host.Client().Do, host.URL
			test(t, s, c)
		})
	}
}
