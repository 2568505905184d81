package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/mycelium-rt/mycelium/fielderr"
	"github.com/mycelium-rt/mycelium/instances"
)

// Instance is an instance as the API shows it.
type Instance struct {
	instances.Info
	// SocketURL is the address for clients: new Socket(SocketURL).
	SocketURL string `json:"socket_url"`
}

// Page is a page of a list of instances.
type Page struct {
	// Instances are in the order of their ids.
	Instances []Instance `json:"instances"`
	// Next is the query parameter "after" for the next page. The last page has none.
	Next string `json:"next,omitempty"`
}

func (a *API) shown(r *request, i instances.Info) Instance {
	i.Auth = showWith(a.options.ShowAuth, i.Auth)
	i.Hooks = showWith(a.options.ShowHooks, i.Hooks)
	return Instance{Info: i, SocketURL: a.base(r) + a.manager.Path(i.ID)}
}

// showWith returns a field of a spec as show does, nil without show.
func showWith(show func(json.RawMessage) json.RawMessage, field json.RawMessage) json.RawMessage {
	if show == nil || len(field) == 0 {
		return nil
	}
	return show(field)
}

// base is the server's address for WebSockets, as the caller sees it.
func (a *API) base(r *request) string {
	if a.options.PublicURL != "" {
		return "ws" + strings.TrimPrefix(strings.TrimSuffix(a.options.PublicURL, "/"), "http")
	}
	scheme := "ws"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "wss"
	}
	return scheme + "://" + r.Host
}

// answerInstance answers with an instance and its revision.
func (a *API) answerInstance(w http.ResponseWriter, r *request, status int, i instances.Info) error {
	w.Header().Set("ETag", etag(i.Revision))
	return answer(w, status, a.shown(r, i))
}

// typeAnswer is a type of instances.
type typeAnswer struct {
	Name   string          `json:"name"`
	About  string          `json:"about"`                           // what instances of the type are for
	Schema json.RawMessage `json:"schema" jsonschema:"type=object"` // of the spec's config
}

func (a *API) types(w http.ResponseWriter, _ *request) error {
	list := []typeAnswer{}
	for _, t := range a.manager.Types() {
		list = append(list, typeAnswer{t.Name(), t.About(), t.Schema()})
	}
	return answer(w, http.StatusOK, map[string]any{"types": list})
}

// create is idempotent by id: 201 for a new instance, 200 for the same once more.
func (a *API) create(w http.ResponseWriter, r *request) error {
	var spec instances.Spec
	if err := r.decode(&spec); err != nil {
		return err
	}
	if len(r.who.key.Instances) > 0 && spec.ID == "" {
		return fielderr.New("/id", "is needed with a key for some ids only: %s", strings.Join(r.who.key.Instances, ", "))
	}
	if err := r.who.authorize(Admin, spec.ID); err != nil {
		return err
	}
	i, created, err := a.manager.Create(r.Context(), spec)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		w.Header().Set("Location", Prefix+"/instances/"+i.ID)
		a.log.Info("instance created").Str("by", r.who.key.Name).Str("instance", i.ID).Str("type", i.Type).Write()
	}
	return a.answerInstance(w, r, status, i)
}

func (a *API) get(w http.ResponseWriter, r *request) error {
	i, err := a.manager.Get(r.id)
	if err != nil {
		return err
	}
	return a.answerInstance(w, r, http.StatusOK, i)
}

var states = []instances.State{instances.Pending, instances.Running, instances.Draining, instances.Stopped, instances.Failed}

// maxPage bounds a page of a list, and defaultPage is what a caller gets who does
// not say.
const (
	maxPage     = 1000
	defaultPage = 100
)

// list answers a page of the instances that the caller may see.
func (a *API) list(w http.ResponseWriter, r *request) error {
	f, err := filterOf(r.query)
	if err != nil {
		return err
	}
	f.Sees = r.who.sees // in one pass: a key that sees few of many must not cost a list for each page
	some, next := a.manager.List(f)
	page := Page{Instances: make([]Instance, len(some)), Next: next}
	for i, one := range some {
		page.Instances[i] = a.shown(r, one)
	}
	return answer(w, http.StatusOK, page)
}

// filterOf reads the query of a list.
func filterOf(query url.Values) (f instances.Filter, err error) {
	f = instances.Filter{Limit: defaultPage}
	for name, values := range query {
		value := values[len(values)-1]
		switch name {
		case "type":
			f.Type = value
		case "state":
			f.State = instances.State(value)
			if !slices.Contains(states, f.State) {
				return f, badQuery("state", "%q is not a state; the states are pending, running, draining, stopped and failed", value)
			}
		case "label":
			if f.Labels, err = labelsOf(values); err != nil {
				return f, err
			}
		case "after":
			f.After = value
		case "limit":
			if f.Limit, err = limitOf(value); err != nil {
				return f, err
			}
		}
	}
	return f, nil
}

func labelsOf(values []string) (map[string]string, error) {
	labels := make(map[string]string, len(values))
	for _, v := range values {
		key, value, ok := strings.Cut(v, ":")
		if !ok {
			return nil, badQuery("label", "%q must be like key:value", v)
		}
		labels[key] = value
	}
	return labels, nil
}

// limit returns the parameter limit of the query, or its default.
func (r *request) limit() (int, error) {
	if !r.query.Has("limit") {
		return defaultPage, nil
	}
	return limitOf(r.query.Get("limit"))
}

func limitOf(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxPage {
		return 0, badQuery("limit", "must be 1 to %d", maxPage)
	}
	return n, nil
}

// readQuery reads the query, of which net/http leaves out what it cannot read.
func (r *request) readQuery(parameters []parameter) (err error) {
	if r.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return problem(http.StatusBadRequest, "query", "Invalid query", "%v: write it like name=value&name=value, other characters as %%XX", err)
	}
	names := make([]string, len(parameters))
	for i, p := range parameters {
		names[i] = p.name
		if p.required && r.query.Get(p.name) == "" {
			return badQuery(p.name, "is needed: add %s=… to the query", p.name)
		}
	}
	for name, values := range r.query {
		switch i := slices.Index(names, name); {
		case i < 0:
			return badQuery(name, "is not a parameter; the parameters are %s", strings.Join(names, ", "))
		case len(values) > 1 && !parameters[i].repeated:
			return badQuery(name, "is given %d times; give it once", len(values))
		}
	}
	return nil
}

func badQuery(name, format string, args ...any) *Problem {
	p := problem(http.StatusBadRequest, "query", "Invalid query", "query parameter "+strings.ReplaceAll(name, "%", "%%")+": "+format, args...)
	return p
}

// patch changes an instance by a JSON merge patch (RFC 7396), if it still is at
// the revision that the caller has seen.
func (a *API) patch(w http.ResponseWriter, r *request) error {
	if err := r.decode(new(instances.Spec)); err != nil { // a null of an unknown field would vanish in the merge
		return err
	}
	i, err := a.manager.Update(r.Context(), r.id, r.revision, func(spec *instances.Spec) error { return applyPatch(spec, r.body) })
	if err != nil {
		return err
	}
	a.log.Info("instance changed").Str("by", r.who.key.Name).Str("instance", i.ID).Int("revision", int(i.Revision)).Write()
	return a.answerInstance(w, r, http.StatusOK, i)
}

// applyPatch merges a patch into a spec.
func applyPatch(spec *instances.Spec, patch []byte) error {
	now, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	var target, change any
	for _, d := range []struct {
		text []byte
		into *any
	}{{now, &target}, {patch, &change}} {
		dec := json.NewDecoder(bytes.NewReader(d.text))
		dec.UseNumber()
		if err := dec.Decode(d.into); err != nil {
			return err
		}
	}
	merged, err := json.Marshal(merge(target, change))
	if err != nil {
		return err
	}
	var next instances.Spec
	if err := decodeStrict(merged, &next); err != nil {
		return err
	}
	*spec = next
	return nil
}

// merge is the MergePatch of RFC 7396 section 2.
func merge(target, patch any) any {
	change, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	into, ok := target.(map[string]any)
	if !ok {
		into = make(map[string]any)
	}
	for name, value := range change {
		if value == nil {
			delete(into, name)
		} else {
			into[name] = merge(into[name], value)
		}
	}
	return into
}

// remove drains an instance and forgets it. When it answers, the instance is gone from the
// store; its sockets are then closed at the server's pace.
func (a *API) remove(w http.ResponseWriter, r *request) error {
	if err := a.manager.Delete(r.Context(), r.id, r.revision); err != nil {
		return err
	}
	a.log.Info("instance deleted").Str("by", r.who.key.Name).Str("instance", r.id).Write()
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) drain(w http.ResponseWriter, r *request) error {
	if err := a.manager.Drain(r.Context(), r.id); err != nil {
		return err
	}
	a.log.Info("instance draining").Str("by", r.who.key.Name).Str("instance", r.id).Write()
	i, err := a.manager.Get(r.id)
	if err != nil {
		return err
	}
	return a.answerInstance(w, r, http.StatusAccepted, i)
}

func (a *API) resume(w http.ResponseWriter, r *request) error {
	i, err := a.manager.Resume(r.Context(), r.id)
	if err != nil {
		return err
	}
	a.log.Info("instance resumed").Str("by", r.who.key.Name).Str("instance", r.id).Write()
	return a.answerInstance(w, r, http.StatusOK, i)
}

func (a *API) stats(w http.ResponseWriter, r *request) error {
	s, err := a.manager.Stats(r.id)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, s)
}

// presence answers who is on a topic, in the form of presence_state.
func (a *API) presence(w http.ResponseWriter, r *request) error {
	list, err := a.manager.Presence(r.id, r.query.Get("topic"))
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, map[string]any{"presence": list})
}
