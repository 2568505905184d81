package httpapi

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mycelium-rt/mycelium/channels"
	"github.com/mycelium-rt/mycelium/instances"
)

// note is a type with one channel and one signal.
type note struct {
	Text string `json:"text,omitempty" jsonschema:"maxLength=10"`
}

type noteLogic struct{ room *channels.Channel }

func (n noteLogic) Channels() []*channels.Channel { return []*channels.Channel{n.room} }

func (noteLogic) Signal(_ context.Context, name string, data json.RawMessage) (any, error) {
	if name != "echo" {
		return nil, &instances.SignalError{Reason: "the only signal is echo"}
	}
	return data, nil
}

func (f *fixture) newNote(in *instances.Instance, _ note) (instances.Logic, error) {
	f.guests.Store(in.ID(), in.Endpoint())
	room := channels.Handle("room:*", func(*channels.Context, channels.Payload) (channels.NoReply, error) {
		return channels.NoReply{}, nil
	})
	return noteLogic{room}, nil
}

// fixture is an API over a manager of its own.
type fixture struct {
	t        *testing.T
	endpoint *channels.Endpoint
	manager  *instances.Manager
	api      *API
	secret   string   // of the key that call sends; empty: it sends none by itself
	guests   sync.Map // id → *channels.Endpoint

	mu       sync.Mutex // call may be called by several goroutines
	document *document
	compiler *jsonschema.Compiler // nil until a schema is asked for
	schemas  map[string]*jsonschema.Schema
}

// guest is the endpoint of an instance.
func (f *fixture) guest(id string) *channels.Endpoint {
	f.t.Helper()
	e, ok := f.guests.Load(id)
	if !ok {
		f.t.Fatalf("no instance %s", id)
	}
	return e.(*channels.Endpoint)
}

func newFixture(t *testing.T, o Options) *fixture {
	t.Helper()
	endpoint, err := channels.NewEndpoint(channels.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := fixtureOn(t, endpoint, o)
	t.Cleanup(func() {
		if err := endpoint.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// fixtureOn is newFixture on an endpoint of the caller's.
func fixtureOn(t *testing.T, endpoint *channels.Endpoint, o Options) *fixture {
	t.Helper()
	var err error
	manager := instances.New(endpoint, instances.Options{})
	f := &fixture{t: t, endpoint: endpoint, manager: manager, document: parseDocument(t)}
	manager.Register(instances.Define("note", "A note.", f.newNote))
	if err := manager.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := manager.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if len(o.Keys) == 0 {
		var key Key
		f.secret, key = NewKey("root", []Scope{Admin}, nil)
		o.Keys = []Key{key}
	}
	if f.api, err = New(manager, o); err != nil {
		t.Fatal(err)
	}
	return f
}

// call is one request: method, path, body, then headers as name, value. The
// answer is held against the document.
func (f *fixture) call(method, target, body string, headers ...string) *http.Response {
	f.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host, r.RemoteAddr = "localhost:4000", "127.0.0.1:5000"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if f.secret != "" {
		r.Header.Set("Authorization", "Bearer "+f.secret)
	}
	for i := 0; i < len(headers); i += 2 {
		switch headers[i] {
		case "Host":
			r.Host = headers[i+1]
		case "peer":
			r.RemoteAddr = headers[i+1]
		default:
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	w := httptest.NewRecorder()
	f.api.ServeHTTP(w, r)
	answer := w.Result()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.documented(method, target, answer)
	return answer
}

// want checks a response: its status, and that its body has all parts.
func want(t *testing.T, r *http.Response, status int, parts ...string) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != status {
		t.Errorf("status %d, want %d: %s", r.StatusCode, status, body)
	}
	for _, part := range parts {
		if !strings.Contains(string(body), part) {
			t.Errorf("answer %s\nhas no %s", body, part)
		}
	}
	if status >= 300 {
		var p Problem
		if err := json.Unmarshal(body, &p); err != nil || p.Status != status || p.Title == "" || p.Detail == "" ||
			!strings.HasPrefix(p.Type, problemType) || r.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("no problem details: %s %s", r.Header.Get("Content-Type"), body)
		}
	}
	return string(body)
}
