package observer

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/history"
	"github.com/mycelium-rt/mycelium/internal/logging"
)

// Path is the path of the page; its socket is at Path + "/socket".
const Path = "/observer"

// topic is the topic that pages join.
const topic = "observer"

// Options configure an [Observer].
type Options struct {
	// Allow decides whether a request, which carries an API key as
	// Authorization if it has one, may see the observer. It returns the key's
	// ID.
	Allow func(r *http.Request) (keyID string, err error)
	// Holds reports whether the key with an ID may still see it.
	Holds func(keyID string) bool
	// Nodes is where the samples of the cluster come from.
	Nodes Nodes
	// History returns the figures of what instances record; nil if nothing is recorded.
	History func() history.Stats
	// Hooks returns the figures of all hooks of this node; nil if there are none.
	Hooks func() []HookCounts
	// Logger gets errors; nil writes them to standard error.
	Logger *zerolog.Logger
}

// Observer serves the page and its socket, and samples until Close.
type Observer struct {
	// Static after New.
	options Options
	log     *logging.Log
	guest   *channels.Endpoint
	sampler *Sampler
	hooks   hookSampler
	pages   http.Handler

	cancel context.CancelFunc
	work   sync.WaitGroup

	mu   sync.Mutex
	keys map[string]struct{} // guarded by mu: IDs of the keys that have opened sockets
}

// New returns an observer whose socket is served by host.
func New(host *channels.Endpoint, m Manager, o Options) (*Observer, error) {
	guest, err := channels.NewEndpoint(channels.Options{Host: host, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &Observer{
		options: o, log: logging.NewLog(o.Logger), guest: guest, sampler: NewSampler(m, o.Nodes, o.History, nil), pages: newPages(), hooks: hookSampler{counts: o.Hooks}, cancel: cancel, keys: make(map[string]struct{}),
	}
	guest.Socket("/socket", channels.SocketOptions{
		Connect: b.connect, AuthToken: true,
		// The key is not in a cookie, so a page of another origin does not have
		// it. Proxies may change Host, so it cannot be compared.
		CheckOrigin: channels.AnyOrigin,
	}, b.channel())
	host.Route(Path, func(below string) (*channels.Endpoint, string, error) {
		if below == "socket/websocket" {
			return guest, "/" + below, nil
		}
		return nil, "", nil // a path of the page's files
	})
	b.work.Go(func() { b.sampler.Run(ctx, b.sendSample) })
	return b, nil
}

// Close stops sampling and closes the pages' sockets. Call it before the host
// is shut down.
func (b *Observer) Close(ctx context.Context) error {
	b.cancel()
	b.work.Wait()
	return b.guest.Shutdown(ctx)
}

// accessPath is where a page asks whether its key is valid, because browsers do
// not tell pages why a socket was refused.
const accessPath = Path + "/access"

// ServeHTTP serves the page to everybody: without its socket it shows nothing.
func (b *Observer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != accessPath {
		b.pages.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if _, err := b.options.Allow(r); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// connect decides whether a page may connect. The page sends its key by
// phoenix.js's authToken, so that it is not in a URL.
func (b *Observer) connect(ctx context.Context, s *channels.Socket, r *channels.Request) error {
	asked := (&http.Request{Method: http.MethodGet, URL: r.URL, Header: http.Header{}}).WithContext(ctx)
	if key, ok := r.AuthToken(); ok {
		asked.Header.Set("Authorization", "Bearer "+key)
	}
	id, err := b.options.Allow(asked)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.keys[id] = struct{}{}
	s.SetID(id)
	return nil
}

// Recheck closes the sockets of keys that Holds no longer accepts. Call it when
// keys have changed. A socket that connects meanwhile cannot join.
func (b *Observer) Recheck() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	for id := range b.keys {
		if b.options.Holds(id) {
			continue
		}
		delete(b.keys, id)
		err = errors.Join(err, b.guest.Disconnect(id))
	}
	return err
}

// errKeyGone refuses a page whose key is no longer valid.
var errKeyGone = channels.Errorf("the API key is no longer valid")

// sendSample sends the last sample to all open pages.
func (b *Observer) sendSample() {
	if b.guest.Subscribers(topic) == 0 {
		return
	}
	if err := b.guest.Broadcast(topic, "sample", b.lastSample()); err != nil {
		b.log.Error("observer").Err(err).Write()
	}
}

// lastSample returns the last sample, with the hooks.
func (b *Observer) lastSample() Sample {
	s := b.sampler.Last()
	s.Hooks = b.hooks.look(time.Now())
	return s
}

// listed is the answer to rows.
type listed struct {
	Rows  []Row `json:"rows"`
	Total int   `json:"total"`
}

// opening is the answer to a join.
type opening struct {
	Sample  Sample  `json:"sample"`
	History History `json:"history"`
}

// which names an instance; empty means all.
type which struct {
	ID string `json:"id"`
}

// channel returns the channel for pages: the reply of a join has the last
// minutes, then a sample comes every second, and pages ask for rows and for the
// last minutes of an instance.
func (b *Observer) channel() *channels.Channel {
	ch := channels.Handle(topic, func(c *channels.Context, _ json.RawMessage) (opening, error) {
		if !b.options.Holds(c.Socket().ID()) {
			return opening{}, errKeyGone
		}
		return opening{b.lastSample(), b.sampler.History("")}, nil
	})
	channels.On(ch, "rows", func(_ *channels.Context, v View) (listed, error) {
		rows, total := b.sampler.Rows(v)
		return listed{rows, total}, nil
	})
	channels.On(ch, "history", func(_ *channels.Context, w which) (History, error) { return b.sampler.History(w.ID), nil })
	return ch
}

//go:embed assets
var assets embed.FS

// contentSecurityPolicy lets the page load its own files and connect to its own
// server, and nothing else.
const contentSecurityPolicy = "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"

// newPages serves the assets below Path, the page itself at Path.
func newPages() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("Cache-Control", "no-cache")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		name, below := strings.CutPrefix(r.URL.Path, Path+"/")
		switch {
		case !below:
			name = "index.html"
		case name == "" || name == "index.html":
			// The page's references are relative to Path. A relative Location
			// also works below a proxy's path; http.Redirect would make it
			// absolute.
			h.Set("Location", ".."+Path)
			w.WriteHeader(http.StatusPermanentRedirect)
			return
		}
		http.ServeFileFS(w, r, assets, "assets/"+name)
	})
}
