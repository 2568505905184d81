package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
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
	manager  *instances.Manager
	options  Options
	keys     []Key
	log      *logging.Log
	routes   []route
	document []byte // openapi.json
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
	a.routes = routesOf(a.operations())
	a.document = documentOf(a.routes)
	return a, nil
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

// serve takes a request through its steps: route, key, scope, query, body, and the
// operation itself. Each is looked up or read here, once.
func (a *API) serve(w http.ResponseWriter, r *http.Request) error {
	found, id := a.find(r.URL)
	who, err := a.authenticate(r, found != nil && found.isPublic())
	if err != nil {
		return err
	}
	if found == nil {
		return notFound("there is nothing at this path: %s/openapi.json lists what there is", Prefix)
	}
	o := found.operation(r.Method)
	if o == nil {
		return notAllowed(found)
	}
	if err := who.authorize(o.scope, id); err != nil {
		return err
	}
	asked := &request{Request: r, id: id, who: who}
	if len(o.query) > 0 {
		if err := asked.readQuery(o.query); err != nil {
			return err
		}
	}
	if o.body != nil {
		r.Body = http.MaxBytesReader(w, r.Body, a.options.MaxBody)
		if err := asked.readBody(o.body.types, http.NewResponseController(w)); err != nil {
			return err
		}
	}
	return o.handle(w, asked)
}

// request is one that may be answered.
type request struct {
	*http.Request
	who   caller
	id    string     // of the path; empty where it has none
	query url.Values // what the operation's query names; nil if it has none
	body  []byte     // nil for an operation without one
}
