package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/logging"
)

// Prefix is where the API stands; the handler expects it in a request's path.
const Prefix = "/api"

// Options configure an [API].
type Options struct {
	// Keys say who may do what. At least one is needed: without a key nobody
	// could use the API. [NewKey] makes one.
	Keys []Key
	// KeyHint tells whoever sends no key, or a wrong one, how to get one. It
	// follows in a sentence. Empty: that the server's operator has them.
	KeyHint string
	// PublicURL is where clients reach the server from outside, like
	// "https://example.com/realtime"; empty: the host that a request was sent to.
	PublicURL string
	// ShowAuth returns an instance's auth as it may be shown to whoever may read:
	// without secrets. nil: it is not shown.
	ShowAuth func(json.RawMessage) json.RawMessage
	// MaxBody bounds the body of a request in bytes; 0: 1 MiB.
	MaxBody int64
	// Logger gets what was changed and by whom at level info, what was refused
	// at warn, not more than ten times a second, and failures of the server itself
	// at error; nil writes errors to standard error. Keys are never logged.
	Logger *zerolog.Logger
	// Before is an API of the same manager that the new one takes the place of:
	// the idempotency keys that it has seen count on. nil: there was none.
	Before *API
	// Now is the clock of idempotency keys; nil: time.Now.
	Now func() time.Time
}

// API serves the HTTP interface of a manager.
type API struct {
	// Static after New.
	manager *instances.Manager
	options Options
	keys    []Key
	log     *logging.Log
	routes  []route
	// bodyTimeout is how long a caller has for the body of a request: nothing else
	// bounds one that drips.
	bodyTimeout time.Duration

	replays *replays
}

// New makes the API of a manager. An error says which key is wrong.
func New(m *instances.Manager, o Options) (*API, error) {
	if o.MaxBody <= 0 {
		o.MaxBody = 1 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.KeyHint == "" {
		o.KeyHint = "whoever runs the server has them"
	}
	if len(o.Keys) == 0 {
		return nil, errors.New("httpapi: Options.Keys is empty, so that nobody could use the API: NewKey makes a key")
	}
	a := &API{manager: m, options: o, keys: slices.Clone(o.Keys), log: logging.NewLog(o.Logger), bodyTimeout: 30 * time.Second, replays: &replays{now: o.Now}}
	for i := range a.keys {
		if err := a.keys[i].Validate(); err != nil {
			return nil, err
		}
	}
	if o.Before != nil {
		a.replays = o.Before.replays
	}
	a.routes = a.table()
	return a, nil
}

// route is one path of the API; an empty segment of it stands for an id.
type route struct {
	path    string
	methods map[string]endpoint
}

// endpoint is what a method of a path does, and which scope it takes.
type endpoint struct {
	scope  Scope
	handle func(w http.ResponseWriter, r *request) error
}

// table lists the whole API.
func (a *API) table() []route {
	return []route{
		{"/api/openapi.json", map[string]endpoint{"GET": {Public, a.document}}},
		{"/api/types", map[string]endpoint{"GET": {Read, a.types}}},
		{"/api/instances", map[string]endpoint{"GET": {Read, a.list}, "POST": {Admin, a.create}}},
		{"/api/instances/{id}", map[string]endpoint{"GET": {Read, a.get}, "PATCH": {Admin, a.patch}, "DELETE": {Admin, a.remove}}},
		{"/api/instances/{id}/broadcast", map[string]endpoint{"POST": {Publish, a.broadcast}}},
		{"/api/instances/{id}/disconnect", map[string]endpoint{"POST": {Publish, a.disconnect}}},
		{"/api/instances/{id}/signal", map[string]endpoint{"POST": {Publish, a.signal}}},
		{"/api/instances/{id}/drain", map[string]endpoint{"POST": {Admin, a.drain}}},
		{"/api/instances/{id}/resume", map[string]endpoint{"POST": {Admin, a.resume}}},
		{"/api/instances/{id}/stats", map[string]endpoint{"GET": {Read, a.stats}}},
		{"/api/instances/{id}/topics", map[string]endpoint{"GET": {Read, a.topics}}},
		{"/api/instances/{id}/sockets", map[string]endpoint{"GET": {Read, a.sockets}}},
		{"/api/instances/{id}/presence", map[string]endpoint{"GET": {Read, a.presence}}},
	}
}

// ServeHTTP answers a request below [Prefix].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Body != http.NoBody { // also of who has no key: net/http reads on after the answer
		http.NewResponseController(w).SetReadDeadline(time.Now().Add(a.bodyTimeout)) //nolint:errcheck // a server that has none
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if err := a.serve(w, r); err != nil {
		a.refuse(w, r, err)
	}
}

// serve finds what a request asks for, and whether whoever asks may have it.
func (a *API) serve(w http.ResponseWriter, r *http.Request) error {
	who, err := a.authenticate(r)
	if err != nil {
		return err
	}
	found, id := a.find(r.URL)
	if found == nil {
		return notFound("there is nothing at this path: %s/openapi.json lists what there is", Prefix)
	}
	e, ok := found.methods[r.Method]
	if !ok {
		return notAllowed(found)
	}
	if err := who.authorize(e.scope, id); err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, a.options.MaxBody)
	return e.handle(w, &request{Request: r, control: http.NewResponseController(w), id: id, who: who})
}

// request is one that may be answered.
type request struct {
	*http.Request
	control *http.ResponseController
	id      string // of the path; empty where it has none
	who     caller
}

// find returns the route of a path, and the id in it. Segments are split before
// they are unescaped: an id with a slash is an unknown id, not another path.
func (a *API) find(u *url.URL) (found *route, id string) {
	parts := strings.Split(u.EscapedPath(), "/")
	for i := range a.routes {
		want := strings.Split(a.routes[i].path, "/")
		if len(want) != len(parts) {
			continue
		}
		id, ok := "", true
		for j := range want {
			if want[j] == "{id}" {
				var err error
				id, err = url.PathUnescape(parts[j])
				ok = ok && err == nil && id != ""
			} else {
				ok = ok && want[j] == parts[j]
			}
		}
		if ok {
			return &a.routes[i], id
		}
	}
	return nil, ""
}
