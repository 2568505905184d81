package hooks

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/channels/channelstest"
	"github.com/mycelium-rt/mycelium/presence"
	"github.com/mycelium-rt/mycelium/units"
)

// backend is a back end whose answers a test chooses. It keeps the requests.
type backend struct {
	*httptest.Server
	t      *testing.T
	secret string

	mu       sync.Mutex
	requests []Request
	answer   func(r Request, w http.ResponseWriter)
}

// serveBackend starts a back end that answers each request with what answer returns, as JSON.
func serveBackend(t *testing.T, answer func(r Request) any) *backend {
	b := &backend{t: t, secret: NewSecret()}
	b.answers(answer)
	b.Server = httptest.NewServer(http.HandlerFunc(b.serve))
	t.Cleanup(b.Close)
	return b
}

func (b *backend) answers(answer func(r Request) any) {
	b.does(func(r Request, w http.ResponseWriter) {
		if err := json.NewEncoder(w).Encode(answer(r)); err != nil {
			b.t.Error(err)
		}
	})
}

// does changes what the back end does.
func (b *backend) does(f func(Request, http.ResponseWriter)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = f
}

func (b *backend) serve(w http.ResponseWriter, r *http.Request) {
	body, err := Verify(r, b.secret)
	if err != nil {
		b.t.Error(err)
	}
	var q Request
	if err := json.Unmarshal(body, &q); err != nil {
		b.t.Errorf("%v in %s", err, body)
	}
	if q.Version != Version || q.ID == "" || q.ID != r.Header.Get("Webhook-Id") {
		b.t.Errorf("version %d, id %q", q.Version, q.ID)
	}
	b.mu.Lock()
	b.requests = append(b.requests, q)
	answer := b.answer
	b.mu.Unlock()
	answer(q, w)
}

// asked returns the requests of a kind.
func (b *backend) asked(kind string) (list []Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.requests {
		if r.Type == kind {
			list = append(list, r)
		}
	}
	return list
}

// hook returns a hook of the back end.
func (b *backend) hook(on ...string) Hook {
	return Hook{URL: b.URL, Secret: b.secret, On: on, Timeout: units.Duration(20 * time.Second)}
}

type object = map[string]any

// yes and no are answers.
var yes, no = object{"allow": true}, object{"allow": false}

// app is an endpoint with a channel that relays, about whose clients hooks decide.
type app struct {
	*channelstest.Endpoint
	decider *Decider
	joined  chan string // params of joins that the channel has seen
}

func start(t *testing.T, change func(*channels.Options, *channels.SocketOptions), list ...Hook) *app {
	o, so := channels.Options{Loops: 1}, channels.SocketOptions{}
	if change != nil {
		change(&o, &so)
	}
	e := channelstest.Start(t, o)
	d, err := New(Options{Hooks: list, Instance: "default", Hide: []string{"token"}, Logger: o.Logger})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	a := &app{e, d, make(chan string, 100)}
	tracker := presence.New(e.Endpoint, presence.Options{})
	t.Cleanup(tracker.Close)
	ch := channels.Handle("*", func(_ *channels.Context, p channels.Payload) (object, error) {
		a.joined <- string(p.Data)
		return object{"from": "the channel"}, nil
	}).OnLoop()
	ch.OnAny(func(c *channels.Context, event string, p channels.Payload) (channels.Reply, error) {
		return channels.Reply{Status: "ok"}, c.Relay(event, p)
	})
	e.Socket("/socket", d.Protect(so, TrackWith(tracker)), ch)
	return a
}

func (a *app) connect(t *testing.T, query string, header http.Header) *channelstest.Client {
	t.Helper()
	c, err := channelstest.TryConnect(t, a.Endpoint, "/socket"+query, header)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// hang answers when the test ends, or the client has gone.
func hang(t *testing.T) func(Request, http.ResponseWriter) {
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return func(_ Request, w http.ResponseWriter) {
		<-end
		io.WriteString(w, `{"allow":true}`)
	}
}
