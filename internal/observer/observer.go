package observer

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/internal/logging"
)

// Path is where the page stands; its socket is Path + "/socket".
const Path = "/observer"

// topic is what pages join.
const topic = "observer"

// Options configure an [Observer].
type Options struct {
	// Allow decides who may see it, by a request that carries an API key as
	// Authorization, if it has one. It returns the key's ID.
	Allow func(r *http.Request) (keyID string, err error)
	// Holds reports whether the key of an ID may still see it.
	Holds func(keyID string) bool
	// Logger gets what goes wrong; nil writes errors to standard error.
	Logger *zerolog.Logger
}

// Observer serves the page and its socket, and samples until Close.
type Observer struct {
	// Static after New.
	options Options
	log     *logging.Log
	guest   *channels.Endpoint
	sampler *Sampler
	pages   http.Handler

	cancel context.CancelFunc
	work   sync.WaitGroup

	mu   sync.Mutex
	keys map[string]struct{} // guarded by mu: IDs of those that have opened sockets
}

// New makes an observer whose socket is served by host.
func New(host *channels.Endpoint, m Manager, o Options) (*Observer, error) {
	guest, err := channels.NewEndpoint(channels.Options{Host: host, Logger: o.Logger})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &Observer{
		options: o, log: logging.NewLog(o.Logger), guest: guest, sampler: NewSampler(m, nil), pages: newPages(), cancel: cancel, keys: make(map[string]struct{}),
	}
	guest.Socket("/socket", channels.SocketOptions{
		Connect: b.connect, AuthToken: true,
		// A key is in no cookie: a page of another origin has none. Whether Host is
		// what the browser has asked for is up to the proxies in between.
		CheckOrigin: channels.AnyOrigin,
	}, b.channel())
	host.Route(Path, func(below string) (*channels.Endpoint, string, error) {
		if below == "socket/websocket" {
			return guest, "/" + below, nil
		}
		return nil, "", nil // a file of the page
	})
	b.work.Go(func() { b.sampler.Run(ctx, b.sendSample) })
	return b, nil
}

// Close ends the sampling and closes the pages' sockets. Close it before its
// host is shut down.
func (b *Observer) Close(ctx context.Context) error {
	b.cancel()
	b.work.Wait()
	return b.guest.Shutdown(ctx)
}

// accessPath is where a page asks whether its key counts: a browser tells no
// page why its socket was refused.
const accessPath = Path + "/access"

// ServeHTTP serves the page, to everybody: it shows nothing without its socket.
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

// connect asks whether a page may look. It carries its key as phoenix.js's
// authToken does, so that none is in a URL.
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

// Recheck closes the sockets of keys that may not look any more. Call it when
// Holds has changed its mind. A socket that connects meanwhile cannot join.
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

// sendSample sends the last sample to the pages that are open.
func (b *Observer) sendSample() {
	if b.guest.Subscribers(topic) == 0 {
		return
	}
	if err := b.guest.Broadcast(topic, "sample", b.sampler.Last()); err != nil {
		b.log.Error("observer").Err(err).Write()
	}
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

// which names an instance; empty: all of them.
type which struct {
	ID string `json:"id"`
}

// channel is what pages speak: the reply of a join has the last minutes, then
// comes a sample every second, and they ask for rows and for one instance's
// last minutes.
func (b *Observer) channel() *channels.Channel {
	ch := channels.Handle(topic, func(c *channels.Context, _ json.RawMessage) (opening, error) {
		if !b.options.Holds(c.Socket().ID()) {
			return opening{}, errKeyGone
		}
		return opening{b.sampler.Last(), b.sampler.History("")}, nil
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

// contentSecurityPolicy lets the page load its own files and speak to its own
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
			// The page's references count from Path. A relative address holds below a proxy's path, too;
			// http.Redirect would make it absolute.
			h.Set("Location", ".."+Path)
			w.WriteHeader(http.StatusPermanentRedirect)
			return
		}
		http.ServeFileFS(w, r, assets, "assets/"+name)
	})
}
