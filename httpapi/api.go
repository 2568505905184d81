package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/mycelium-rt/mycelium/auth"
	"github.com/mycelium-rt/mycelium/hooks"
	"github.com/mycelium-rt/mycelium/instances"
	"github.com/mycelium-rt/mycelium/internal/events"
	internalhooks "github.com/mycelium-rt/mycelium/internal/hooks"
	"github.com/mycelium-rt/mycelium/internal/logging"
)

// Prefix is the path of the API. The handler expects it in the path of each
// request.
const Prefix = "/api"

// Options configure an [API].
type Options struct {
	// Keys are the keys of the API. At least one is required. [NewKey] makes
	// one.
	Keys []Key
	// KeyHint tells clients without a valid key how to get one. It follows in a
	// sentence. The default is that the operator of the server has them.
	KeyHint string
	// PublicURL is the URL of the server for clients, such as
	// "https://example.com/realtime". The default is the host of each request.
	PublicURL string
	// ShowAuth returns the auth of an instance without its secrets, for clients
	// that may read. nil does not show it.
	ShowAuth func(json.RawMessage) json.RawMessage
	// ShowHooks does the same for hooks.
	ShowHooks func(json.RawMessage) json.RawMessage
	// Deciders returns what decides about an instance, whose hooks are listed and tested; nil
	// if nothing does. A nil Deciders means that no hooks decide.
	Deciders func(id string) *hooks.Decider
	// MaxBody is the largest body of a request, in bytes. Default 1 MiB.
	MaxBody int64
	// MaxBatch is the most messages that a request to broadcast many may have, each
	// counted for each of its topics. Default 1,000.
	MaxBatch int
	// Revocations are those of the manager's instances, each a space. nil means that
	// tokens cannot be revoked.
	Revocations *auth.Revocations
	// Logger logs changes and who made them at level info, refused requests at
	// warn, at most ten in a second, and failures of the server at error. The
	// default logs errors to standard error. Keys are never logged.
	Logger *zerolog.Logger
	// Forward, if not nil, has the node that runs an instance answer a request for it,
	// which this API has permitted for the key named caller. That node's
	// Options.Caller must return that name. It returns false, and answers nothing, if
	// the request cannot be forwarded.
	Forward func(w http.ResponseWriter, r *http.Request, to *instances.ElsewhereError, caller string) bool
	// Peers returns the other nodes of the cluster that are heard, for the lists of who is
	// connected and for idempotency keys. nil means that there are none.
	Peers func() []Peer
	// Caller returns the name of the key for which another node has permitted a
	// request that it forwards, "" for requests of clients. nil means that there are
	// no other nodes.
	Caller func(*http.Request) string
	// Latest returns the API that serves now. A stream of events ends when that does not
	// know its key any more. nil means that this one is not replaced.
	Latest func() *API
	// Node is the name of this node among Peers, "" without them.
	Node string
	// IdempotencyFile is a file that keeps idempotency keys over the end of the process;
	// "" keeps them in memory.
	IdempotencyFile string
	// Before is an API of the same manager that this one replaces, whose
	// idempotency keys stay valid. nil means there is none.
	Before *API
	// Now returns the time for idempotency keys. The default is time.Now.
	Now func() time.Time
}

func init() {
	internalhooks.TellEvents = func(api, told any) { api.(*API).events = told.(*events.Events) }
}

// API is an http.Handler that serves the API of a manager.
type API struct {
	// Static after New.
	manager  *instances.Manager
	options  Options
	keys     []Key
	log      *logging.Log
	routes   []route
	document []byte         // openapi.json
	events   *events.Events // what happens in instances; nil: it is not told
	// bodyTimeout is how long a caller has for the body of a request: nothing else
	// bounds one that drips.
	bodyTimeout time.Duration

	replays *replays
}

// New returns the API of a manager. It returns an error if a key is not valid.
func New(m *instances.Manager, o Options) (*API, error) {
	if o.MaxBody <= 0 {
		o.MaxBody = 1 << 20
	}
	if o.MaxBatch <= 0 {
		o.MaxBatch = 1000
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
	a := &API{manager: m, options: o, keys: slices.Clone(o.Keys), log: logging.NewLog(o.Logger), bodyTimeout: 30 * time.Second}
	for i := range a.keys {
		if err := a.keys[i].Validate(); err != nil {
			return nil, err
		}
	}
	if o.Before != nil {
		a.replays = o.Before.replays
	} else if err := a.openReplays(o.IdempotencyFile); err != nil {
		return nil, err
	}
	a.routes = routesOf(a.operations())
	a.document = documentOf(a.routes)
	return a, nil
}

// ServeHTTP serves requests below [Prefix].
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

// serve takes a request through its steps: route, key, scope, query, revision,
// body, and the operation itself. Each is looked up or read here, once.
func (a *API) serve(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path == repeatPath && a.isOfNode(r) {
		return a.serveRepeat(w, r)
	}
	found, named := a.find(r.URL)
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
	if err := who.authorize(o.scope, named.id); err != nil {
		return err
	}
	asked := &request{Request: r, names: named, who: who}
	if len(o.query) > 0 {
		if err := asked.readQuery(o.query); err != nil {
			return err
		}
	}
	if err := asked.readRevision(o.header); err != nil {
		return err // before the body: who has to read the instance first need not send it
	}
	if o.body != nil {
		r.Body = http.MaxBytesReader(w, r.Body, a.options.MaxBody)
		if err := asked.readBody(o.body.types, http.NewResponseController(w)); err != nil {
			return err
		}
	}
	if o.isIdempotent() {
		err = a.once(w, asked, o)
	} else {
		err = o.handle(w, asked)
	}
	var elsewhere *instances.ElsewhereError
	if errors.As(err, &elsewhere) && a.options.Forward != nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(asked.body)), int64(len(asked.body))
		if a.options.Forward(w, r, elsewhere, who.key.Name) {
			return nil
		}
	}
	return err
}

// request is one that may be answered.
type request struct {
	*http.Request
	who      caller
	names               // of the path; empty where it has none
	query    url.Values // what the operation's query names; nil if it has none
	revision uint64     // what If-Match names; AnyRevision for * and without one
	body     []byte     // nil for an operation without one
}
